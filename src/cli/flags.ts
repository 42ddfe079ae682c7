/** Flags that many commands share (reference/agent.md §1.3), and the two value kinds only the command line has. */
import { FlagError } from '../config/index.ts';
import { CliError, type FlagSpecs } from './command.ts';

/** Which agent to talk to: every command that talks to one. */
export const clientFlags = {
  'http-addr': {
    kind: 'string',
    value: 'ADDR',
    help: 'Address of the agent: host:port, http://…, https://… or unix://PATH. Default 127.0.0.1:8500; also PORTOLAN_HTTP_ADDR or CONSUL_HTTP_ADDR.',
  },
  token: { kind: 'string', help: 'ACL token. Also PORTOLAN_HTTP_TOKEN or CONSUL_HTTP_TOKEN.' },
  'token-file': {
    kind: 'string',
    value: 'FILE',
    help: 'File that holds the ACL token; it goes before -token. Also CONSUL_HTTP_TOKEN_FILE.',
  },
  'ca-file': { kind: 'string', value: 'FILE', help: 'Certificate authority to trust (PEM). Also CONSUL_CACERT.' },
  'ca-path': {
    kind: 'string',
    value: 'DIR',
    help: 'Folder of certificate authorities to trust (PEM). Also CONSUL_CAPATH.',
  },
  'client-cert': {
    kind: 'string',
    value: 'FILE',
    help: 'Certificate to show to the agent (PEM). Also CONSUL_CLIENT_CERT.',
  },
  'client-key': { kind: 'string', value: 'FILE', help: 'Key of that certificate (PEM). Also CONSUL_CLIENT_KEY.' },
  'tls-server-name': {
    kind: 'string',
    value: 'NAME',
    help: "Name to expect in the agent's certificate. Also CONSUL_TLS_SERVER_NAME.",
  },
} as const satisfies FlagSpecs;

/** For commands that end at a server. */
export const serverFlags = {
  ...clientFlags,
  datacenter: { kind: 'string', value: 'DC', help: "Datacenter to ask. Default: the agent's own." },
  stale: { kind: 'bool', help: 'Let any server answer, not only the leader; the answer may be old.' },
} as const satisfies FlagSpecs;

export const namespaceFlag = {
  namespace: { kind: 'string', help: 'Namespace, for Enterprise servers. Also CONSUL_NAMESPACE.' },
} as const satisfies FlagSpecs;

export const formatFlag = {
  format: { kind: 'string', value: 'pretty|json', help: 'Form of the output. Default pretty.' },
} as const satisfies FlagSpecs;

/** Whether JSON is wanted. @throws CliError for a form that does not exist. */
export function wantsJson(format: string | undefined): boolean {
  if (format === undefined || format === 'pretty') return false;
  if (format === 'json') return true;
  throw new CliError(`Unknown format: ${format}`);
}

/** The value of a flag with a few possible words. @throws CliError that lists them. */
export function oneOf<const T extends string>(
  flag: string,
  text: string | undefined,
  allowed: readonly T[],
): T | undefined {
  if (text === undefined) return undefined;
  const found = allowed.find((word) => word === text);
  if (found === undefined) throw new CliError(`-${flag} must be one of ${allowed.join(', ')}, not "${text}"`);
  return found;
}

const uint64Max = 2n ** 64n - 1n;

/**
 * The value of a flag that takes an unsigned 64-bit number (KV flags and indexes use all bits, DESIGN rule 8).
 * @throws FlagError with Go's text.
 */
export function uint64Flag(name: string, text: string | undefined): bigint {
  if (text === undefined) return 0n;
  const invalid = (reason: string): FlagError =>
    new FlagError(`invalid value ${JSON.stringify(text)} for flag -${name}: ${reason}`);
  if (!/^(\d+|0x[\da-f]+)$/i.test(text)) throw invalid('parse error');
  const value = BigInt(text);
  if (value > uint64Max) throw invalid('value out of range');
  return value;
}
