/**
 * Writers that note what was acknowledged, while something happens to the servers. Every write has a key of its own, so
 * afterwards each acknowledged one must be found, and nothing else can have taken its place.
 */
import type { Member } from '../../helpers/cluster.ts';

export interface WriteLoadOptions {
  /** Whom writers ask, looked up for each write. */
  readonly targets: () => readonly Member[];
  readonly prefix: string;
  readonly writers?: number;
  /** Rest of a writer between two writes (ms). */
  readonly restMs?: number;
}

const writersDefault = 4;
const restMsDefault = 5;
/** Longest wait for one answer (ms): more than the 7 s that a server holds a request while there is no leader. */
const answerLimitMs = 10_000;
/** After an error, before the next write (ms). */
const afterErrorMs = 50;

interface KeyList {
  readonly Key: string;
  readonly Value: string | null;
}

export class WriteLoad {
  readonly #options: WriteLoadOptions;
  readonly #acknowledged = new Map<string, string>();
  readonly #errors: string[] = [];
  #running = true;
  #lastMs = performance.now();
  #longestGapMs = 0;
  readonly #done: Promise<unknown>;

  constructor(options: WriteLoadOptions) {
    this.#options = options;
    const { writers = writersDefault } = options;
    this.#done = Promise.all(Array.from({ length: writers }, (_, at) => this.#write(at)));
  }

  get acknowledged(): number {
    return this.#acknowledged.size;
  }

  /** What went wrong, one line each. */
  get errors(): readonly string[] {
    return this.#errors;
  }

  /** Longest time without any acknowledgement so far (ms). */
  get longestGapMs(): number {
    return Math.max(this.#longestGapMs, this.#running ? performance.now() - this.#lastMs : 0);
  }

  async stop(): Promise<void> {
    this.#longestGapMs = this.longestGapMs;
    this.#running = false;
    await this.#done;
  }

  /** Acknowledged writes that `member` does not have in its own state. */
  async missingAt(member: Member): Promise<readonly string[]> {
    const { prefix } = this.#options;
    const pairs = await member.get<KeyList[]>(`/v1/kv/${prefix}/?recurse&stale`, { timeoutMs: 60_000 });
    const found = new Map(pairs.map(({ Key, Value }) => [Key, Buffer.from(Value ?? '', 'base64').toString()]));
    return [...this.#acknowledged].filter(([key, value]) => found.get(key) !== value).map(([key]) => key);
  }

  async #write(writer: number): Promise<void> {
    const { targets, prefix, restMs = restMsDefault } = this.#options;
    for (let count = 0; this.#running; count++) {
      const list = targets();
      const target = list[(writer + count) % list.length];
      const key = `${prefix}/${writer}/${count}`;
      const value = `value of ${key}`;
      try {
        if (target === undefined) throw new Error('nobody to ask');
        const { status, text } = await target.request('PUT', `/v1/kv/${key}`, {
          body: value,
          timeoutMs: answerLimitMs,
        });
        if (status !== 200 || text.trim() !== 'true') throw new Error(`${target.name}: ${status} ${text.trim()}`);
        this.#acknowledged.set(key, value);
        const nowMs = performance.now();
        this.#longestGapMs = Math.max(this.#longestGapMs, nowMs - this.#lastMs);
        this.#lastMs = nowMs;
        await pause(restMs);
      } catch (error) {
        this.#errors.push(String(error));
        await pause(afterErrorMs);
      }
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
