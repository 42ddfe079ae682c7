/** What the fuzz tests share: how much, from which seed, and whether the agent under them stays whole. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import type { AgentProcess } from '../../helpers/agent-process.ts';
import { countFrom, seedOr } from '../../helpers/settings.ts';
import { waitUntil } from '../../helpers/wait.ts';

/**
 * HTTP requests of a run; ten times as many DNS packets. The full size is PORTOLAN_FUZZ=1000000; a test run that takes
 * some seconds does with less.
 */
export const fuzzRequests = countFrom('PORTOLAN_FUZZ', 10_000);
/** Anew for every run, and printed: PORTOLAN_SEED=<n> repeats one. */
export const fuzzSeed = seedOr(Date.now() % 1_000_000_000);
/** Longest run of one fuzz test (ms). */
export const fuzzLimitMs = 60_000 + fuzzRequests * 10;

/** What an answer or a log says only when the program tripped over itself. */
export const trippedOver =
  /Cannot (?:read|set|convert|mix|access|destructure)|is not (?:a function|iterable|a constructor|defined)|Maximum call stack|Invalid (?:array|string) length|invariant|Invalid time value|circular structure|an error that it does not know|UnhandledPromise|(?:Type|Range|Reference|Syntax)Error/;

export class Draw extends SeededRandom {
  pick<T>(list: readonly T[]): T {
    return list[this.integer(list.length)]!;
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** Flips, takes out, repeats and inserts bytes, a few times. */
  mutated(given: Uint8Array): Buffer {
    let bytes = Buffer.from(given);
    for (let left = 1 + this.integer(4); left > 0; left--) {
      const at = this.integer(bytes.length + 1);
      const length = this.integer(Math.min(16, bytes.length - at + 1));
      const [before, part, after] = [
        bytes.subarray(0, at),
        bytes.subarray(at, at + length),
        bytes.subarray(at + length),
      ];
      switch (this.integer(6)) {
        case 0:
          if (at < bytes.length) bytes[at] = bytes[at]! ^ (1 << this.integer(8));
          break;
        case 1:
          if (at < bytes.length) bytes[at] = this.pick([0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff]);
          break;
        case 2:
          bytes = Buffer.concat([before, after]);
          break;
        case 3:
          bytes = Buffer.concat([before, part, part, after]);
          break;
        case 4:
          bytes = Buffer.concat([before, this.bytes(length), after]);
          break;
        default:
          bytes = Buffer.from(before);
      }
    }
    return bytes;
  }
}

/** The size of an agent's heap when all garbage is collected, as often as one likes. */
export class HeapGauge {
  readonly #directory = mkdtempSync(join(tmpdir(), 'portolan-heap-'));
  readonly #result = join(this.#directory, 'heap');
  readonly #hook = join(this.#directory, 'collect.cjs');

  constructor() {
    // SIGUSR2 is a signal that the agent ignores.
    writeFileSync(
      this.#hook,
      `require('node:v8').setFlagsFromString('--expose-gc');
const collect = require('node:vm').runInNewContext('gc');
const { renameSync, writeFileSync } = require('node:fs');
process.on('SIGUSR2', () => {
  collect();
  collect();
  writeFileSync(${JSON.stringify(`${this.#result}.new`)}, String(process.memoryUsage().heapUsed));
  renameSync(${JSON.stringify(`${this.#result}.new`)}, ${JSON.stringify(this.#result)});
});
`,
    );
  }

  /** The environment of an agent whose heap is to be measured. */
  get env(): Readonly<Record<string, string>> {
    return { NODE_OPTIONS: `--require=${this.#hook}` };
  }

  async heapBytes(agent: AgentProcess): Promise<number> {
    rmSync(this.#result, { force: true });
    agent.signal('SIGUSR2');
    await waitUntil('the heap to be measured', () => existsSync(this.#result));
    return Number(readFileSync(this.#result, 'utf8'));
  }

  close(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Resident memory now, bytes; NaN when the process is gone. */
export function residentBytes(agent: AgentProcess): number {
  if (agent.exited) return Number.NaN;
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${agent.pid}/status`, 'utf8'))?.[1]) * 1024;
}

/** The same process, which has not tripped. */
export function expectSound(agent: AgentProcess): void {
  expect(agent.exited, agent.log.slice(-4_000)).toBe(false);
  const line = agent.log.split('\n').find((text) => trippedOver.test(text));
  expect(line, `seed ${fuzzSeed}`).toBeUndefined();
}

/**
 * A heap that has levelled off: what is left after the collections of the second half stays near that of the first.
 * @param heaps in order, measured with the same records stored
 */
export function expectLevel(heaps: readonly number[]): void {
  const half = Math.ceil(heaps.length / 2);
  const [first, second] = [heaps.slice(0, half), heaps.slice(half)].map((part) => Math.min(...part));
  const shown = heaps.map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(' ');
  // Compiled code and caches of fixed size still fill up; a leak of 20 bytes a request would be more in the full run.
  expect(second! - first!, `heap (MB): ${shown}; seed ${fuzzSeed}`).toBeLessThan(8 * 2 ** 20);
}
