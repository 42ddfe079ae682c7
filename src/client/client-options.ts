/**
 * Which agent to talk to and how. Flags beat the environment, the environment beats defaults, with one exception that
 * clients rely on: a non-empty token file beats every token, even one given by flag (reference/agent.md §1.2). Each
 * variable exists as `PORTOLAN_X` and `CONSUL_X`; ours wins when both are set.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where an agent listens when nobody says otherwise. */
const addressDefault = '127.0.0.1:8500';

/** Values of the client flags; undefined or "" = not given. */
export interface ClientFlags {
  /** `host:port`, `http://…`, `https://…`, `unix://PATH`. */
  readonly httpAddr?: string | undefined;
  readonly token?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly caFile?: string | undefined;
  readonly caPath?: string | undefined;
  readonly clientCert?: string | undefined;
  readonly clientKey?: string | undefined;
  readonly tlsServerName?: string | undefined;
  readonly datacenter?: string | undefined;
  readonly namespace?: string | undefined;
}

/** Certificates as texts (PEM), already read. */
export interface ClientTls {
  /** Authorities to trust instead of the system's. */
  readonly ca: readonly string[] | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly serverName: string | undefined;
  /** false: the server's certificate is not checked. */
  readonly verify: boolean;
}

export interface ClientOptions {
  readonly scheme: 'http' | 'https';
  /** `host[:port]`, or the socket's path when `unix`. */
  readonly address: string;
  readonly unix: boolean;
  /** "" = none. */
  readonly token: string;
  /** `user:password` for basic authentication. */
  readonly auth: string | undefined;
  /** Sent as `dc=` with every request. */
  readonly datacenter: string | undefined;
  /** Sent as `ns=` with every request (Enterprise servers). */
  readonly namespace: string | undefined;
  readonly tls: ClientTls;
}

/** The value of `PORTOLAN_name`, else of `CONSUL_name`; empty counts as not set. */
export function clientEnv(env: NodeJS.ProcessEnv, name: string): string | undefined {
  return env[`PORTOLAN_${name}`] || env[`CONSUL_${name}`] || undefined;
}

/**
 * Settles flags, environment and defaults, and reads the files they name.
 * @throws Error `Error loading token file: open F: no such file or directory`, `Unknown protocol scheme: S`, and for
 *   unreadable certificates or a variable that is no boolean.
 */
export function resolveClientOptions(env: NodeJS.ProcessEnv, flags: ClientFlags = {}): ClientOptions {
  const pick = (flag: string | undefined, name: string): string | undefined => flag || clientEnv(env, name);
  const { scheme, address, unix } = parseAddress(
    pick(flags.httpAddr, 'HTTP_ADDR') ?? addressDefault,
    boolEnv(env, 'HTTP_SSL') ?? false,
  );
  const tokenFile = pick(flags.tokenFile, 'HTTP_TOKEN_FILE');
  const fileToken = tokenFile === undefined ? '' : readFor('token file', tokenFile).trim();
  return {
    scheme,
    address,
    unix,
    token: fileToken || (pick(flags.token, 'HTTP_TOKEN') ?? ''),
    auth: clientEnv(env, 'HTTP_AUTH'),
    datacenter: flags.datacenter || undefined,
    namespace: pick(flags.namespace, 'NAMESPACE'),
    tls: readTls(
      pick(flags.caFile, 'CACERT'),
      pick(flags.caPath, 'CAPATH'),
      pick(flags.clientCert, 'CLIENT_CERT'),
      pick(flags.clientKey, 'CLIENT_KEY'),
      pick(flags.tlsServerName, 'TLS_SERVER_NAME'),
      boolEnv(env, 'HTTP_SSL_VERIFY') ?? true,
    ),
  };
}

function parseAddress(text: string, ssl: boolean): { scheme: 'http' | 'https'; address: string; unix: boolean } {
  const at = text.indexOf('://');
  const prefix = at === -1 ? 'http' : text.slice(0, at);
  const address = at === -1 ? text : text.slice(at + 3);
  switch (prefix) {
    case 'http': // Does not undo an SSL that was asked for.
      return { scheme: ssl ? 'https' : 'http', address: withoutSlash(address), unix: false };
    case 'https':
      return { scheme: 'https', address: withoutSlash(address), unix: false };
    case 'unix':
      return { scheme: ssl ? 'https' : 'http', address, unix: true };
    default:
      throw new Error(`Unknown protocol scheme: ${prefix}`);
  }
}

/** People paste addresses from browsers. */
function withoutSlash(address: string): string {
  return address.endsWith('/') ? address.slice(0, -1) : address;
}

function readTls(
  caFile: string | undefined,
  caPath: string | undefined,
  certFile: string | undefined,
  keyFile: string | undefined,
  serverName: string | undefined,
  verify: boolean,
): ClientTls {
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new Error(
      'both client cert and client key must be provided: give -client-cert and -client-key (or CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY)',
    );
  }
  let ca: string[] | undefined;
  if (caFile !== undefined) ca = [readFor('CA file', caFile)];
  else if (caPath !== undefined) {
    ca = readdirSync(caPath)
      .sort()
      .map((name) => readFor('CA file', join(caPath, name)));
  }
  return {
    ca,
    cert: certFile === undefined ? undefined : readFor('client cert', certFile),
    key: keyFile === undefined ? undefined : readFor('client key', keyFile),
    serverName,
    verify,
  };
}

function readFor(what: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(`Error loading ${what}: ${goFileError('open', path, error)}`, { cause: error });
  }
}

/** A file error as Go words it: `open F: no such file or directory`. */
export function goFileError(operation: string, path: string, error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  return `${operation} ${path}: ${errnoTexts[code] ?? (error as Error).message}`;
}

/** The kernel's words for the codes that a user can meet here. */
export const errnoTexts: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset by peer',
  EHOSTUNREACH: 'no route to host',
  EISDIR: 'is a directory',
  EMFILE: 'too many open files',
  ENETUNREACH: 'network is unreachable',
  ENOENT: 'no such file or directory',
  ENOTDIR: 'not a directory',
  EPERM: 'operation not permitted',
  EPIPE: 'broken pipe',
};

const booleans: Readonly<Record<string, boolean>> = {
  1: true,
  t: true,
  T: true,
  true: true,
  TRUE: true,
  True: true,
  0: false,
  f: false,
  F: false,
  false: false,
  FALSE: false,
  False: false,
};

function boolEnv(env: NodeJS.ProcessEnv, name: string): boolean | undefined {
  const text = clientEnv(env, name);
  if (text === undefined) return undefined;
  const value = booleans[text];
  if (value === undefined) throw new Error(`CONSUL_${name}: "${text}" is not a boolean; use true or false`);
  return value;
}
