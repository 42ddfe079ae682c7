/**
 * How many calls a client may make of servers: a bucket of `rpcMaxBurst` tokens that fills with `rpcRate` a second, one
 * token a try (reference/server-rpc.md §6.1). Nobody waits for a token: who gets none hears so at once.
 */
import type { Clock } from '../../ports/index.ts';

/** `limits` of the configuration; a reload may change them. */
export interface RpcLimits {
  /** Calls a second; not positive, or infinite = no limit. */
  readonly rpcRate: number;
  /** Calls at once. */
  readonly rpcMaxBurst: number;
}

export class RateLimit {
  readonly #clock: Clock;
  readonly #limits: () => RpcLimits;
  /** When the bucket is full again (ms). */
  #fullMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, limits: () => RpcLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Takes a token. @returns false when there is none. */
  take(): boolean {
    const { rpcRate, rpcMaxBurst } = this.#limits();
    if (!(rpcRate > 0) || rpcRate === Infinity) return true;
    const nowMs = this.#clock.monotonicMs();
    const tokenMs = 1000 / rpcRate;
    const fullMs = Math.max(nowMs, this.#fullMs) + tokenMs;
    if (fullMs - nowMs > rpcMaxBurst * tokenMs) return false;
    this.#fullMs = fullMs;
    return true;
  }
}
