/**
 * Network errors in Go's words. Scripts and people search the output of this program for `connection refused` and
 * `no such host` as the reference program prints them, `dial tcp 127.0.0.1:8500: connect: connection refused`
 * (reference/agent.md §1.5), so Node's own texts do not do.
 */
import { hostPort } from '../lib/index.ts';
import { errnoTexts } from './client-options.ts';

/** What Node puts on errors of sockets, resolvers and TLS. */
interface NodeNetError extends Error {
  readonly code?: string;
  readonly syscall?: string;
  readonly address?: string;
  readonly port?: number;
  readonly hostname?: string;
  readonly reason?: string;
  /** Of an AggregateError: one for each address tried. */
  readonly errors?: readonly NodeNetError[];
}

const unknownAuthority = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);

/** `error` as Go's HTTP client words it, without the request in front. */
export function goNetError(error: unknown): string {
  const found = error as NodeNetError;
  const { code = '', syscall, address, port, hostname } = found.errors?.[0] ?? found;
  const message = found.errors?.[0]?.message ?? found.message;
  // OpenSSL met letters where a TLS record should begin.
  if (/wrong version number|packet length too long/i.test(message)) {
    return 'http: server gave HTTP response to HTTPS client';
  }
  if (syscall === 'connect') {
    const target = port === undefined ? `unix ${address ?? ''}` : `tcp ${hostPort(address ?? '', port)}`;
    return code === 'ETIMEDOUT'
      ? `dial ${target}: i/o timeout`
      : `dial ${target}: connect: ${errnoTexts[code] ?? message}`;
  }
  if (syscall === 'getaddrinfo') {
    const reason = code === 'ENOTFOUND' ? 'no such host' : 'Temporary failure in name resolution';
    return `dial tcp: lookup ${hostname ?? ''}: ${reason}`;
  }
  if (syscall === 'read' || syscall === 'write') return `${syscall}: ${errnoTexts[code] ?? message}`;
  if (code === 'ECONNRESET') return 'EOF';
  if (code.startsWith('HPE_')) return `net/http: HTTP/1.x transport connection broken: malformed HTTP response`;
  if (unknownAuthority.has(code)) return 'x509: certificate signed by unknown authority';
  if (code === 'CERT_HAS_EXPIRED') return 'x509: certificate has expired or is not yet valid';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `x509: ${found.reason ?? message}`;
  return message;
}
