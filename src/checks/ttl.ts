/**
 * TTL checks: somebody else reports, and silence for the TTL is critical (reference/agent.md §4.4). Every report starts
 * the timer anew, also after it has expired; registering the same check again does not (registrator.md R35).
 */
import type { Clock, Timer } from '../ports/index.ts';
import type { CheckStatus } from '../model/index.ts';
import { limitNote } from './output.ts';

const expired = 'TTL expired';
const expiredWithOutput = `${expired} (last output before timeout follows): `;

export class TtlCheck {
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #outputBytesMax: number;
  readonly #onStatus: (status: CheckStatus, output: string) => void;
  #timer: Timer | undefined;
  #lastOutput: string;
  #expiresAtMs = 0;

  /**
   * @param options.lastOutput the output it starts with, for the text of its expiry.
   * @param options.expiresAtWallMs when it was to expire, for a check that comes back after a restart; without it, or
   *   when that is past, a whole TTL begins.
   */
  constructor(options: {
    readonly clock: Clock;
    readonly ttlMs: number;
    readonly outputBytesMax: number;
    readonly lastOutput: string;
    readonly expiresAtWallMs?: number;
    readonly onStatus: (status: CheckStatus, output: string) => void;
  }) {
    this.#clock = options.clock;
    this.#ttlMs = options.ttlMs;
    this.#outputBytesMax = options.outputBytesMax;
    this.#onStatus = options.onStatus;
    this.#lastOutput = options.lastOutput.startsWith(expired) ? '' : options.lastOutput;
    const leftMs = options.expiresAtWallMs === undefined ? 0 : options.expiresAtWallMs - options.clock.wallMs();
    // A wall clock that jumped must not make it live longer than its TTL.
    this.#arm(leftMs > 0 ? Math.min(leftMs, this.#ttlMs) : this.#ttlMs);
  }

  /** When it expires unless it is updated, wall ms; for persistence. */
  get expiresAtWallMs(): number {
    return this.#clock.wallMs() + this.#expiresAtMs - this.#clock.monotonicMs();
  }

  update(status: CheckStatus, output: string): void {
    this.#lastOutput = limitNote(output, this.#outputBytesMax);
    this.#timer?.cancel();
    this.#arm(this.#ttlMs);
    this.#onStatus(status, this.#lastOutput);
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #arm(delayMs: number): void {
    this.#expiresAtMs = this.#clock.monotonicMs() + delayMs;
    this.#timer = this.#clock.after(delayMs, () => {
      this.#onStatus('critical', this.#lastOutput === '' ? expired : `${expiredWithOutput}${this.#lastOutput}`);
    });
  }
}
