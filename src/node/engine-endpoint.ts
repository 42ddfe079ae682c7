/**
 * Where the Docker engine is: DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_TLS and DOCKER_CERT_PATH as the docker command
 * line reads them (reference/container-environments.md §1).
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { EngineError } from '../ports/index.ts';

export interface EngineTls {
  readonly ca: Buffer | undefined;
  readonly cert: Buffer | undefined;
  readonly key: Buffer | undefined;
  /** Whether the engine's certificate must be of `ca`. */
  readonly verify: boolean;
}

export type EngineEndpoint =
  | { readonly kind: 'unix'; readonly url: string; readonly socketPath: string }
  | {
      readonly kind: 'tcp';
      readonly url: string;
      readonly host: string;
      readonly port: number;
      readonly tls: EngineTls | undefined;
    };

export const engineUrlDefault = 'unix:///var/run/docker.sock';
const portPlain = 2375;
const portTls = 2376;

/**
 * @param url overrides DOCKER_HOST (a configuration key or flag).
 * @throws EngineError when the URL cannot be used, or a certificate file cannot be read.
 */
export function engineEndpoint(env: Readonly<Record<string, string | undefined>>, url?: string): EngineEndpoint {
  const given = url || env['DOCKER_HOST'] || engineUrlDefault;
  const match = /^([a-z]+):\/\/(.*)$/i.exec(given);
  // The text is Consul's own (reference/agent.md §4.6).
  if (match === null) throw new EngineError(`unable to parse docker host \`${given}\``, undefined);
  const scheme = match[1]!.toLowerCase();
  const rest = match[2]!;
  if (scheme === 'unix') return { kind: 'unix', url: given, socketPath: rest || '/var/run/docker.sock' };
  if (scheme === 'ssh' || scheme === 'npipe') {
    throw new EngineError(
      `DOCKER_HOST ${given}: ${scheme}:// is not supported here; use unix:///path/docker.sock or tcp://host:port`,
      undefined,
    );
  }
  let parsed: URL;
  try {
    parsed = new URL(`http://${rest}`);
  } catch (cause) {
    throw new EngineError(`unable to parse docker host \`${given}\``, undefined, { cause });
  }
  const tls = readTls(env, scheme);
  return {
    kind: 'tcp',
    url: given,
    host: parsed.hostname.replace(/^\[|\]$/g, ''),
    port: parsed.port === '' ? defaultPort(rest, tls) : Number(parsed.port),
    tls,
  };
}

/** `URL` drops an explicit `:80`, so it is looked for in the text. */
function defaultPort(rest: string, tls: EngineTls | undefined): number {
  if (/:80(?:\/|$)/.test(rest)) return 80;
  return tls === undefined ? portPlain : portTls;
}

function readTls(env: Readonly<Record<string, string | undefined>>, scheme: string): EngineTls | undefined {
  const verify = Boolean(env['DOCKER_TLS_VERIFY']);
  if (!verify && !env['DOCKER_TLS'] && scheme !== 'https') return undefined;
  const dir = env['DOCKER_CERT_PATH'] || join(homedir(), '.docker');
  const read = (name: string, needed: boolean): Buffer | undefined => {
    try {
      return readFileSync(join(dir, name));
    } catch (cause) {
      if (!needed) return undefined;
      throw new EngineError(
        `cannot read ${join(dir, name)}: ${(cause as Error).message}; DOCKER_TLS_VERIFY is set, so DOCKER_CERT_PATH must name a folder with ca.pem, cert.pem and key.pem`,
        undefined,
        { cause },
      );
    }
  };
  return { ca: read('ca.pem', verify), cert: read('cert.pem', verify), key: read('key.pem', verify), verify };
}
