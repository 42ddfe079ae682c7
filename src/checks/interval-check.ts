/** A check that runs again and again: schedule, turn, run, thresholds, status. */
import type { CheckStatus } from '../model/index.ts';
import type { Clock, Logger, Metrics, Random, Timer } from '../ports/index.ts';
import type { Limiter } from './limiter.ts';
import type { CheckResult, CheckRunner } from './runner.ts';
import { firstDelayMs } from './schedule.ts';
import type { Thresholds } from './thresholds.ts';

export interface IntervalCheckParts {
  readonly checkId: string;
  readonly type: string;
  readonly intervalMs: number;
  readonly runner: CheckRunner;
  readonly thresholds: Thresholds;
  readonly limiter: Limiter;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly onStatus: (status: CheckStatus, output: string) => void;
}

export class IntervalCheck {
  readonly #options: IntervalCheckParts;
  readonly #abort = new AbortController();
  #timer: Timer;
  #running: Promise<void> = Promise.resolve();

  constructor(options: IntervalCheckParts) {
    this.#options = options;
    this.#timer = this.#schedule(firstDelayMs(options.intervalMs, options.random));
  }

  /** Ends a run that is under way; settles when nothing of it is left. */
  async stop(): Promise<void> {
    this.#timer.cancel();
    this.#abort.abort(new Error('the check was removed'));
    await this.#running;
  }

  #schedule(delayMs: number): Timer {
    return this.#options.clock.after(delayMs, () => {
      this.#running = this.#run();
    });
  }

  async #run(): Promise<void> {
    const { limiter, runner, intervalMs, clock, metrics, type } = this.#options;
    const { signal } = this.#abort;
    await limiter.run(async () => {
      if (signal.aborted) return;
      const startMs = clock.monotonicMs();
      try {
        await runner.run((result) => this.#report(result), signal);
      } catch (error) {
        if (!signal.aborted) this.#report({ status: 'critical', output: (error as Error).message });
      }
      metrics.sample(['checks', 'run'], clock.monotonicMs() - startMs, [{ name: 'type', value: type }]);
    });
    if (!signal.aborted) this.#timer = this.#schedule(intervalMs);
  }

  #report(result: CheckResult): void {
    // A check that was removed, or replaced under its id, has no say any more.
    if (this.#abort.signal.aborted) return;
    const { thresholds, logger, checkId, onStatus } = this.#options;
    if (result.atOnce !== true) {
      const verdict = thresholds.judge(result.status);
      if (!verdict.counts) {
        const failed = result.status === 'critical';
        const kind = failed ? 'failure' : 'success';
        logger.warn(`Check ${failed ? 'failed' : 'passed'} but has not reached ${kind} threshold`, {
          check: checkId,
          status: result.status,
          [`${kind}_count`]: verdict.inARow,
          [`${kind}_threshold`]: verdict.needed,
        });
        return;
      }
    }
    onStatus(result.status, result.output);
  }
}
