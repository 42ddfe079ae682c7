/** Programs that nobody here wrote: where install.sh and peer.sh put them, or the one line that says what is missing. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { describe } from 'vitest';

const root = resolve(import.meta.dirname, '../../..');
const clients = join(root, '.cache/clients');
const unpacked = join(clients, 'root');

export interface Client {
  readonly path: string;
  /** What it must find in its environment, its libraries above all. */
  readonly env: NodeJS.ProcessEnv;
}

/** Scripts that ran in this process: each fetches at most once, and fails at most once. */
const ran = new Map<string, string>();

/** Runs a script that fetches a client. @returns its last line, or undefined when it could not. */
function fetched(script: string): string | undefined {
  if (!ran.has(script)) {
    let path = '';
    try {
      path = execFileSync('sh', [join(root, script)], { stdio: ['ignore', 'pipe', 'inherit'] })
        .toString()
        .trim();
    } catch {
      // The script has said why.
    }
    ran.set(script, path);
  }
  return ran.get(script) === '' ? undefined : ran.get(script);
}

/** A program of Debian: installed, or unpacked beside the system. */
export function debianClient(name: string): Client | undefined {
  const installed = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, name));
  const local = [join(unpacked, 'usr/sbin', name), join(unpacked, 'usr/bin', name)];
  if (![...installed, ...local].some((path) => existsSync(path))) fetched('test/interop/support/install.sh');
  const path = [...installed, ...local].find((candidate) => existsSync(candidate));
  if (path === undefined) return undefined;
  const lib = ['usr/lib', 'lib'].map((folder) => join(unpacked, folder, libraryTriplet));
  return { path, env: { ...process.env, LD_LIBRARY_PATH: lib.join(delimiter) } };
}

/** Debian's folder of libraries for this processor. */
const libraryTriplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';

/** The entry file of the npm package `consul`. */
export function npmConsul(): string | undefined {
  const path = join(clients, 'npm/node_modules/consul/lib/index.js');
  if (!existsSync(path)) fetched('test/interop/support/install.sh');
  return existsSync(path) ? path : undefined;
}

/** The real Consul 1.8.7. */
export function realConsul(): string | undefined {
  return fetched('test/bench/support/peer.sh');
}

/**
 * A suite that needs clients: skipped with one line when one is missing, failed in CI.
 * @param found what was looked for, by name
 */
export function describeWith<T extends Readonly<Record<string, unknown>>>(
  name: string,
  found: T,
  body: (found: { readonly [K in keyof T]: NonNullable<T[K]> }) => void,
): void {
  const missing = Object.keys(found).filter((key) => found[key] === undefined);
  if (missing.length === 0) {
    describe(name, () => body(found as { readonly [K in keyof T]: NonNullable<T[K]> }));
    return;
  }
  const reason = `interop: ${name} needs ${missing.join(', ')}; run test/interop/support/install.sh`;
  if (process.env['CI'] === 'true') throw new Error(reason);
  console.log(`${reason} (skipped)`);
  describe.skip(name, () => undefined);
}
