/** The agent's certificates: read at the start and again at each reload (reference/agent.md §2.3, §2.8). */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { type Config, ConfigError } from '../config/index.ts';

export interface TlsFiles {
  /** PEM texts; empty = none. */
  readonly ca: readonly string[];
  /** "" = none. */
  readonly cert: string;
  readonly key: string;
}

/**
 * Reads what the settings name.
 * @throws ConfigError for files that cannot be read, half a pair, and demands that the files cannot meet.
 */
export function readTlsFiles({ tls }: Config): TlsFiles {
  const { caFile, caPath, certFile, keyFile } = tls;
  if ((certFile === '') !== (keyFile === '')) {
    throw new ConfigError('cert_file and key_file belong together: set both or neither');
  }
  const files = {
    ca: [
      ...(caFile === '' ? [] : [read('ca_file', caFile)]),
      ...(caPath === '' ? [] : filesIn(caPath).map((path) => read('ca_path', path))),
    ],
    cert: certFile === '' ? '' : read('cert_file', certFile),
    key: keyFile === '' ? '' : read('key_file', keyFile),
  };
  const verifies = tls.verifyIncoming || tls.verifyIncomingHttps || tls.verifyIncomingRpc;
  if (verifies && files.ca.length === 0) {
    throw new ConfigError('VerifyIncoming set, and no CA certificate provided! Set ca_file or ca_path');
  }
  if (verifies && files.cert === '') {
    throw new ConfigError('VerifyIncoming set, and no Cert/Key pair provided! Set cert_file and key_file');
  }
  if (tls.verifyOutgoing && files.ca.length === 0) {
    throw new ConfigError('VerifyOutgoing set, and no CA certificate provided! Set ca_file or ca_path');
  }
  try {
    createSecureContext({ ca: files.ca, ...(files.cert === '' ? {} : { cert: files.cert, key: files.key }) });
  } catch (error) {
    const settings = [caFile && 'ca_file', caPath && 'ca_path', certFile && 'cert_file', keyFile && 'key_file'];
    throw new ConfigError(`${settings.filter(Boolean).join(', ')} cannot be used: ${(error as Error).message}`);
  }
  return files;
}

function filesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
      .sort()
      .map((name) => join(directory, name));
  } catch (error) {
    throw new ConfigError(`ca_path: ${(error as Error).message}`);
  }
}

function read(setting: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError(`${setting}: ${(error as Error).message}`);
  }
}
