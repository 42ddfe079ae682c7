/**
 * What a signal means (reference/agent.md §3.5): SIGHUP reloads; SIGINT and SIGTERM end the agent, with or without a
 * leave; a second one during the leave ends that at once, and one while the agent stops ends the process; SIGPIPE and
 * the user signals are ignored, and never count as that second signal (a defect of Consul we do not copy).
 */
import type { Clock, Logger } from '../ports/index.ts';

/** Longest leave that a signal may begin (ms). */
const leaveLimitMs = 15_000;

export type EndSignal = 'SIGINT' | 'SIGTERM';

/** How Go, and so Consul's log, names the signals. */
const goNames: Readonly<Record<EndSignal | 'SIGHUP', string>> = {
  SIGINT: 'interrupt',
  SIGTERM: 'terminated',
  SIGHUP: 'hangup',
};

export interface SignalPolicy {
  /** Whether SIGINT ends without leaving. */
  readonly skipLeaveOnInterrupt: boolean;
  /** Whether SIGTERM leaves. */
  readonly leaveOnTerminate: boolean;
}

export interface SignalActions {
  reload(): Promise<void>;
  leave(): Promise<void>;
  /** Stops all parts in their order, then ends the process. */
  exit(code: number): void;
  /** Ends the process now. */
  abort(code: number): void;
}

export class SignalHandler {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #policy: SignalPolicy;
  readonly #actions: SignalActions;
  #leaving = false;
  #exiting = false;

  constructor(dependencies: {
    readonly logger: Logger;
    readonly clock: Clock;
    readonly policy: SignalPolicy;
    readonly actions: SignalActions;
  }) {
    this.#logger = dependencies.logger;
    this.#clock = dependencies.clock;
    this.#policy = dependencies.policy;
    this.#actions = dependencies.actions;
  }

  hangup(): void {
    this.#logger.info('Caught', { signal: goNames.SIGHUP });
    this.#actions.reload().catch((error: unknown) => this.#logger.error('Reload config failed', { error }));
  }

  end(signal: EndSignal): void {
    this.#logger.info('Caught', { signal: goNames[signal] });
    if (this.#leaving || this.#exiting) {
      this.#logger.info('Caught second signal, Exiting', { signal: goNames[signal] });
      // An end that hangs is not waited for once more.
      if (this.#exiting) this.#actions.abort(1);
      else this.#exit(1);
      return;
    }
    const graceful = signal === 'SIGINT' ? !this.#policy.skipLeaveOnInterrupt : this.#policy.leaveOnTerminate;
    if (!graceful) {
      this.#logger.info('Graceful shutdown disabled. Exiting');
      this.#exit(1);
      return;
    }
    this.#leave(leaveLimitMs);
  }

  /** Whether a leave has begun; then it has stopped the parts of the agent, too. */
  get left(): boolean {
    return this.#leaving;
  }

  /** Leaves and ends, as somebody asked who waits for it; a second call changes nothing. */
  leave(): void {
    this.#leave(undefined);
  }

  #leave(limitMs: number | undefined): void {
    if (this.#leaving) return;
    this.#leaving = true;
    this.#logger.info('Gracefully shutting down agent...');
    const limit =
      limitMs === undefined
        ? undefined
        : this.#clock.after(limitMs, () => {
            this.#logger.error('Timeout on graceful leave. Exiting');
            this.#exit(1);
          });
    this.#actions.leave().then(
      () => {
        limit?.cancel();
        this.#logger.info('Graceful exit completed');
        this.#exit(0);
      },
      (error: unknown) => {
        limit?.cancel();
        this.#logger.error('Error on leave', { error });
        this.#exit(1);
      },
    );
  }

  #exit(code: number): void {
    this.#exiting = true;
    this.#actions.exit(code);
  }
}
