/**
 * Why a connection failed, in the words of Go's net package: people and tools that watch check outputs know them.
 */
import { hostPort } from '../lib/index.ts';

const connectTexts: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connect: connection refused',
  EHOSTUNREACH: 'connect: no route to host',
  ENETUNREACH: 'connect: network is unreachable',
  ETIMEDOUT: 'connect: connection timed out',
  EADDRNOTAVAIL: 'connect: cannot assign requested address',
  EACCES: 'connect: permission denied',
};

const certificateTexts: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: 'x509: certificate signed by unknown authority',
  SELF_SIGNED_CERT_IN_CHAIN: 'x509: certificate signed by unknown authority',
  UNABLE_TO_GET_ISSUER_CERT: 'x509: certificate signed by unknown authority',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'x509: certificate signed by unknown authority',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'x509: certificate signed by unknown authority',
  CERT_HAS_EXPIRED: 'x509: certificate has expired or is not yet valid',
  CERT_NOT_YET_VALID: 'x509: certificate has expired or is not yet valid',
};

interface SystemError extends Error {
  readonly code?: string;
  readonly address?: string;
  readonly port?: number;
  readonly hostname?: string;
  /** Of an AggregateError: one for each address tried. */
  readonly errors?: readonly SystemError[];
}

/** @param target `host:port`, for errors that do not tell the address. */
export function dialErrorText(error: unknown, target: string): string {
  const all = error as SystemError;
  const { code = '', address, port, hostname, message } = all.errors?.[0] ?? all;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    const why = code === 'ENOTFOUND' ? 'no such host' : 'Temporary failure in name resolution';
    return `dial tcp: lookup ${hostname ?? target}: ${why}`;
  }
  const text = connectTexts[code];
  if (text !== undefined && address !== undefined) return `dial tcp ${hostPort(address, port ?? 0)}: ${text}`;
  if (text !== undefined) return `dial tcp ${target}: ${text}`;
  if (code === 'ECONNRESET') return message === 'socket hang up' ? 'EOF' : 'read: connection reset by peer';
  return certificateTexts[code] ?? message;
}

/** `host:port`, `[v6]:port`; undefined when it is neither. */
export function splitHostPort(text: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const port = Number(match[3]);
  return port > 65_535 ? undefined : { host: match[1] ?? match[2] ?? '', port };
}
