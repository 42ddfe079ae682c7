/**
 * A leader's reign, from the election to its loss (reference/raft.md §3.2): tell everybody, wait until everything of
 * earlier leaders is applied, take up the duties once, then bring the catalog in line with the members, one by one as
 * gossip tells of them and all of them every minute.
 */
import { type Clock, type Logger, type Metrics, sleep } from '../ports/index.ts';
import type { Consensus } from './command-log.ts';

/** Between two looks at all members, ms; also how often an idle leader writes a barrier. */
export const reconcileIntervalMs = 60_000;
/** Members waiting to be looked at; beyond that the next look at all of them has to do. */
const pendingMax = 256;
/** After duties that could not be taken up, ms, when nobody else can lead. */
const establishRetryMs = 5_000;
/** How often a leader that cannot do its duties tries to hand over. */
const transferAttemptsMax = 3;

const barrierSample: readonly string[] = ['leader', 'barrier'];
const reconcileSample: readonly string[] = ['leader', 'reconcile'];
const memberSample: readonly string[] = ['leader', 'reconcileMember'];

/** What a leader does. Each may fail with what the log refuses. */
export interface Duties<Item> {
  /** Says that this server leads now. */
  announce(): void;
  /** Takes up the duties. */
  establish(): Promise<void>;
  /** Lays them down; also after `establish` failed half way. */
  revoke(): void;
  reconcileAll(signal: AbortSignal): Promise<void>;
  reconcileOne(item: Item): Promise<void>;
}

export class Leadership<Item> {
  readonly #log: Consensus;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  readonly #duties: Duties<Item>;
  #reign: Reign<Item> | undefined;
  #last: Promise<void> = Promise.resolve();
  #isCaughtUp: boolean;
  #unsubscribe: (() => void) | undefined;

  constructor(parts: {
    readonly log: Consensus;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly metrics: Metrics;
    readonly duties: Duties<Item>;
  }) {
    this.#metrics = parts.metrics;
    this.#log = parts.log;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#duties = parts.duties;
    // A log that leads from the start has nobody before it.
    this.#isCaughtUp = parts.log.isLeader;
  }

  /** Whether this server leads and has applied what earlier leaders acknowledged. */
  get isReady(): boolean {
    return this.#isCaughtUp && this.#log.isLeader;
  }

  /** Follows the log from now on. Resolves when the first duties are done if it leads already, else at once. */
  async start(): Promise<void> {
    this.#unsubscribe ??= this.#log.onLeadership(() => this.#follow());
    this.#follow();
    await this.#reign?.begun;
  }

  stop(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#end();
  }

  /** Looks at a member soon. */
  enqueue(item: Item): void {
    this.#reign?.enqueue(item);
  }

  /** Takes the duties up anew, after the state was replaced. */
  reestablish(): void {
    this.#reign?.reestablish();
  }

  #follow(): void {
    if (!this.#log.isLeader) {
      this.#end();
      return;
    }
    if (this.#reign !== undefined) return;
    this.#logger.info('cluster leadership acquired');
    this.#reign = new Reign({
      log: this.#log,
      clock: this.#clock,
      logger: this.#logger,
      metrics: this.#metrics,
      duties: this.#duties,
      onCaughtUp: () => (this.#isCaughtUp = true),
      after: this.#last,
    });
    this.#last = this.#reign.done;
  }

  #end(): void {
    if (this.#reign === undefined) return;
    this.#logger.info('cluster leadership lost');
    this.#isCaughtUp = false;
    const reign = this.#reign;
    this.#reign = undefined;
    reign.end();
  }
}

interface ReignParts<Item> {
  readonly log: Consensus;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly duties: Duties<Item>;
  readonly onCaughtUp: () => void;
  /** Until then something of the last reign may go on. */
  readonly after: Promise<void>;
}

class Reign<Item> {
  /** Settles when the duties were taken up, and all members looked at, for the first time, or that failed. */
  readonly begun: Promise<void>;
  /** Resolves when nothing of this reign goes on any more. */
  readonly done: Promise<void>;
  readonly #parts: ReignParts<Item>;
  readonly #ended = new AbortController();
  #pending: Item[] = [];
  #isEstablished = false;
  #wake: () => void = () => undefined;

  constructor(parts: ReignParts<Item>) {
    this.#parts = parts;
    parts.duties.announce();
    this.begun = this.#begin();
    this.done = this.#run();
  }

  enqueue(item: Item): void {
    if (this.#pending.length >= pendingMax) return;
    this.#pending.push(item);
    this.#wake();
  }

  reestablish(): void {
    // Those of before are laid down first: each must be taken up once.
    if (this.#isEstablished) this.#parts.duties.revoke();
    this.#isEstablished = false;
    this.#wake();
  }

  end(): void {
    this.#ended.abort(new Error('leadership lost'));
    this.#parts.duties.revoke();
  }

  async #begin(): Promise<void> {
    await this.#parts.after;
    await this.#pass();
  }

  /** One round: everything is applied, the duties are taken up, all members looked at. */
  async #pass(): Promise<void> {
    await this.#establish();
    const { signal } = this.#ended;
    if (!signal.aborted) await this.#timed(reconcileSample, () => this.#parts.duties.reconcileAll(signal));
  }

  async #establish(): Promise<void> {
    const { log, duties, onCaughtUp } = this.#parts;
    await this.#timed(barrierSample, () => log.barrier());
    if (this.#ended.signal.aborted) return;
    onCaughtUp();
    if (this.#isEstablished) return;
    // Set before: whoever asks for them anew meanwhile gets them anew.
    this.#isEstablished = true;
    try {
      await duties.establish();
    } catch (error) {
      this.#isEstablished = false;
      duties.revoke();
      throw error;
    }
    // What was taken up after the end has to be laid down again.
    if (this.#ended.signal.aborted) duties.revoke();
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#parts;
    const { signal } = this.#ended;
    for (let pass = this.begun; ; pass = this.#pass()) {
      try {
        await pass;
      } catch (error) {
        if (signal.aborted) return;
        logger.error('failed to take up the duties of a leader', { error });
        if (await this.#handOver()) return;
        await sleep(clock, establishRetryMs, signal).catch(() => undefined);
      }
      if (this.#isEstablished) await this.#reconcileUntil(clock.monotonicMs() + reconcileIntervalMs);
      if (signal.aborted) return;
    }
  }

  /** Looks at members as they come, until it is time to look at all. */
  async #reconcileUntil(dueMs: number): Promise<void> {
    const { clock, logger, duties } = this.#parts;
    while (!this.#ended.signal.aborted && this.#isEstablished) {
      const item = this.#pending.shift();
      if (item !== undefined) {
        await this.#timed(memberSample, () => duties.reconcileOne(item)).catch((error: unknown) => {
          if (!this.#ended.signal.aborted) logger.error('failed to reconcile a member', { error });
        });
        continue;
      }
      const restMs = dueMs - clock.monotonicMs();
      if (restMs <= 0) return;
      await this.#sleepOrWake(restMs);
    }
  }

  async #timed(sample: readonly string[], work: () => Promise<void>): Promise<void> {
    const { clock, metrics } = this.#parts;
    const startMs = clock.monotonicMs();
    await work();
    metrics.sample(sample, clock.monotonicMs() - startMs);
  }

  #sleepOrWake(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel();
        this.#ended.signal.removeEventListener('abort', done);
        this.#wake = () => undefined;
        resolve();
      };
      const timer = this.#parts.clock.after(ms, done);
      this.#wake = done;
      this.#ended.signal.addEventListener('abort', done, { once: true });
      if (this.#ended.signal.aborted) done();
    });
  }

  /** @returns whether another server is to lead. */
  async #handOver(): Promise<boolean> {
    const { log, logger } = this.#parts;
    for (let attempt = 1; attempt <= transferAttemptsMax; attempt++) {
      try {
        await log.transferLeadership();
        return true;
      } catch (error) {
        logger.warn('failed to transfer leadership', { attempt, error });
      }
    }
    return false;
  }
}
