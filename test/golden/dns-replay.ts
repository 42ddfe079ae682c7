// Plays recorded DNS conversations with agents that the recordings' own runner starts, and tells how each case went.
import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';

export const dnsFixtures = resolve(import.meta.dirname, '../fixtures/golden/dns');
const runner = join(dnsFixtures, '../replay-dns.mjs');

export class DnsReplay {
  /** By `recording/case`: nothing when the answer was as recorded, or what was not. */
  readonly #cases = new Map<string, string>();
  /** Recordings that could not be played, and why. */
  readonly #broken = new Map<string, string>();

  /** @param output what the runner wrote, with `-v` */
  constructor(output: string) {
    for (const [, file, why] of output.matchAll(/^BROKEN (.*)\.json: (.*)$/gm)) this.#broken.set(file!, why!);
    for (const [, id] of output.matchAll(/^ok {3}(\S+\/\S+)$/gm)) this.#cases.set(id!, '');
    // A case that failed stands there twice, with its reasons the second time.
    for (const [block, id] of output.matchAll(/^FAIL (\S+\/\S+)\n(?: {2}.*\n)*/gm)) this.#cases.set(id!, block);
  }

  /** @returns why a case did not pass; nothing when it did. */
  failure(recording: string, id: string): string {
    return this.#broken.get(recording) ?? this.#cases.get(`${recording}/${id}`) ?? 'not played';
  }
}

/** Runs the runner with `flags` on the recordings in `directory`. */
export async function replayDns(directory: string, flags: readonly string[]): Promise<DnsReplay> {
  const child = spawn(process.execPath, [runner, '-v', ...flags, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (chunk: string) => (output += chunk));
  await new Promise((done, fail) => child.once('error', fail).once('close', done));
  return new DnsReplay(output);
}
