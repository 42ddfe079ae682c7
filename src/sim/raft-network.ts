/**
 * Requests between servers of a simulated cluster: late, lost, doubled, out of order, or cut off by a partition, as the
 * seed has it. Whole messages, because their bytes are tested elsewhere.
 */
import type { Clock } from '../ports/index.ts';
import type { RaftAnswer, RaftRequest, RaftResponse, RaftTransport, SnapshotBody } from '../raft/index.ts';
import type { SeededRandom } from './seeded-random.ts';

type Handler = (request: RaftRequest, body: SnapshotBody | undefined) => Promise<RaftAnswer>;

/** A stray copy takes up to so many times as long: long enough to outlive the leader that sent it. */
const straySlowness = 100;

export interface RaftNetworkOptions {
  readonly clock: Clock;
  readonly random: SeededRandom;
  /** Longest way of one message, ms. */
  readonly delayMs: number;
  /** How long a caller waits for an answer, ms. */
  readonly timeoutMs: number;
}

export class RaftNetwork {
  /** Share of messages that get lost, 0 to 1. */
  lossRate = 0;
  /** Share of requests that arrive twice, the second time much later. */
  doubleRate = 0;
  readonly #options: RaftNetworkOptions;
  readonly #handlers = new Map<string, Handler>();
  /** Servers of different groups cannot reach each other; one without a group is in group 0. */
  #groups = new Map<string, number>();
  /** Pairs `from>to` that are cut in this direction only. */
  readonly #cut = new Set<string>();

  constructor(options: RaftNetworkOptions) {
    this.#options = options;
  }

  partition(groups: ReadonlyMap<string, number>): void {
    this.#groups = new Map(groups);
  }

  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`);
  }

  heal(): void {
    this.#groups.clear();
    this.#cut.clear();
    this.lossRate = 0;
  }

  /** The transport of the server at `address`; the one before it at this address is dead. */
  transport(address: string): RaftTransport {
    let mine: Handler | undefined;
    return {
      call: (to, request, body) => this.#call(address, to.address, request, body),
      serve: (handler) => {
        mine = handler;
        this.#handlers.set(address, handler);
      },
      close: async () => {
        if (this.#handlers.get(address) === mine) this.#handlers.delete(address);
      },
    };
  }

  /** The server at `address` answers nothing any more. */
  drop(address: string): void {
    this.#handlers.delete(address);
  }

  async #call(from: string, to: string, request: RaftRequest, body?: SnapshotBody): Promise<RaftResponse> {
    const { random } = this.#options;
    const pieces: Uint8Array[] = [];
    if (body !== undefined) for await (const piece of body.pieces) pieces.push(piece);
    return await new Promise<RaftResponse>((resolve, reject) => {
      const timer = this.#options.clock.after(this.#options.timeoutMs, () => reject(new Error('no answer in time')));
      const deliver = (slowness: number): void =>
        this.#travel(from, to, slowness, () => {
          const handler = this.#handlers.get(to);
          if (handler === undefined) return;
          const copy = body && { size: body.size, pieces: all(pieces) };
          handler(request, copy).then(
            (answer) =>
              this.#travel(to, from, 1, () => {
                timer.cancel();
                if (answer.error !== '') reject(new Error(answer.error));
                else resolve(answer.message);
              }),
            () => {},
          );
        });
      deliver(1);
      if (random.next() < this.doubleRate) deliver(straySlowness);
    });
  }

  /** One way of one message. */
  #travel(from: string, to: string, slowness: number, arrive: () => void): void {
    const { clock, random, delayMs } = this.#options;
    const lost = random.next() < this.lossRate;
    clock.after(random.next() * delayMs * slowness, () => {
      if (!lost && this.#reaches(from, to)) arrive();
    });
  }

  #reaches(from: string, to: string): boolean {
    if (this.#cut.has(`${from}>${to}`)) return false;
    return (this.#groups.get(from) ?? 0) === (this.#groups.get(to) ?? 0);
  }
}

async function* all(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces;
}
