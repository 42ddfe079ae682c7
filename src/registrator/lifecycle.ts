/**
 * Whether a container's services should be there (reference/registrator.md §8, R6–R9). It remembers the little that
 * one look at the engine cannot tell: how often the container started lately, that a terminating signal is under way,
 * and when it ended. No clock of its own: times come with each call.
 */
import { formatGoDurationMs } from '../codec/index.ts';
import type { ContainerInspect } from '../ports/index.ts';
import { isRunning } from './facts.ts';
import type { RegistratorOptions } from './options.ts';

export type Verdict = {
  /** Look again after this time, ms. */
  readonly recheckMs?: number;
} & (
  | {
      /** Running: registered as mapped. */
      readonly kind: 'present';
      /** Why its services are critical nevertheless. */
      readonly note?: string;
    }
  | {
      /** Not running, but its services stay; with a note they are critical. */
      readonly kind: 'kept';
      readonly note?: string;
    }
  | { readonly kind: 'absent' }
);

type Policy = Pick<RegistratorOptions, 'deregister' | 'onStop' | 'flapsMax' | 'flapWindowMs'>;

/** The engine's own default between the stop signal and SIGKILL, ms. */
const stopTimeoutMsDefault = 10_000;
/** Time the engine needs to take a killed container down, ms. */
const stopSlackMs = 2_000;
/** A container in removal is looked at again after this time, ms, should its last event be lost. */
const removingRecheckMs = 1_000;
/** Bit that shells and the engine add to a signal number in an exit code, and the highest signal. */
const signalExitBase = 128;
const signalMax = 64;

const signalNumbers: Readonly<Record<string, number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  KILL: 9,
  USR1: 10,
  USR2: 12,
  TERM: 15,
};
/** Signals that end a container when it has no stop signal of its own (R6). */
const terminating: ReadonlySet<number> = new Set([2, 3, 9, 15]);

/** Number of `15`, `TERM`, `SIGTERM`, `SIGRTMIN+3`; undefined when it is none. */
export function signalNumber(text: string): number | undefined {
  const name = text.trim().toUpperCase().replace(/^SIG/, '');
  if (/^\d+$/.test(name)) return Number(name);
  const realtime = /^RTMIN(?:\+(\d+))?$/.exec(name);
  if (realtime) return 34 + Number(realtime[1] ?? 0);
  return signalNumbers[name];
}

export class Lifecycle {
  /** Times of the last starts, oldest first; at most `flapsMax`. */
  readonly #starts: number[] = [];
  #startedAt = '';
  #restartCount = 0;
  #signal: { readonly number: number; readonly untilMs: number } | undefined;
  #endedAtMs: number | undefined;
  #exitCode: number | undefined;

  /** A `kill` event. `inspect` is the last one we have, for the container's own stop signal and time. */
  killed(signalText: string | undefined, inspect: ContainerInspect | undefined, nowMs: number): void {
    const number = signalText === undefined ? undefined : signalNumber(signalText);
    if (number === undefined) return;
    const own = signalNumber(inspect?.Config?.StopSignal ?? '');
    if (number !== own && !terminating.has(number)) return;
    const timeoutMs = (inspect?.Config?.StopTimeout ?? stopTimeoutMsDefault / 1000) * 1000;
    this.#signal = { number, untilMs: nowMs + timeoutMs + stopSlackMs };
  }

  /** One look at the engine; undefined = the container is gone. */
  observed(inspect: ContainerInspect | undefined, policy: Policy, nowMs: number): void {
    const state = inspect?.State;
    if (inspect !== undefined && state?.Running === true) {
      const startedAt = state.StartedAt ?? '';
      if (startedAt !== this.#startedAt && isRunning(inspect)) {
        // Restarts that came between two looks show in the engine's counter.
        const missed = Math.max(1, (inspect.RestartCount ?? 0) - this.#restartCount);
        const first = this.#startedAt === '';
        for (let i = 0; i < (first ? 1 : missed); i++) this.#starts.push(nowMs);
        this.#startedAt = startedAt;
        this.#signal = undefined;
      }
      if (isRunning(inspect)) {
        this.#restartCount = inspect.RestartCount ?? 0;
        this.#endedAtMs = undefined;
      }
    } else {
      this.#endedAtMs ??= nowMs;
      this.#signal = undefined;
    }
    if (state?.Running !== true || state.Restarting === true) this.#exitCode = state?.ExitCode ?? this.#exitCode;
    while (this.#starts.length > policy.flapsMax) this.#starts.shift();
  }

  /** Whether nothing is remembered that a later look would need. */
  forgettable(policy: Policy, nowMs: number): boolean {
    return this.#starts.every((start) => start + policy.flapWindowMs <= nowMs);
  }

  /** What follows from the last look. */
  judge(inspect: ContainerInspect | undefined, policy: Policy, nowMs: number, wallMs: number): Verdict {
    const loop = this.#loop(policy, nowMs);
    if (inspect !== undefined && isRunning(inspect)) {
      if (inspect.State?.Paused === true) return { kind: 'present', note: 'the container is paused' };
      const stopping = this.#signal !== undefined && this.#signal.untilMs > nowMs ? this.#signal : undefined;
      if (stopping !== undefined && policy.onStop !== 'none') {
        const recheckMs = stopping.untilMs - nowMs;
        if (policy.onStop === 'deregister') return { kind: 'absent', recheckMs };
        return { kind: 'present', note: `the container is stopping (signal ${stopping.number})`, recheckMs };
      }
      return loop === undefined ? { kind: 'present' } : { kind: 'present', ...loop };
    }
    const status = inspect?.State?.Status;
    if (status === 'created') return { kind: 'absent' };
    if (loop !== undefined && inspect !== undefined) return { kind: 'kept', ...loop };
    const restarting = inspect?.State?.Restarting === true;
    const recheck = status === 'removing' ? { recheckMs: removingRecheckMs } : {};
    switch (policy.deregister.kind) {
      case 'always':
        return { kind: 'absent', ...recheck };
      case 'never':
        return { kind: 'kept' };
      case 'on-success':
        if (inspect === undefined) return { kind: 'absent' };
        if (restarting) return { kind: 'kept' };
        return { kind: isFailure(inspect.State?.ExitCode ?? 0) ? 'kept' : 'absent', ...recheck };
      case 'keep-critical': {
        const leftMs = policy.deregister.keepMs - this.#endedSinceMs(inspect, nowMs, wallMs);
        if (leftMs <= 0) return { kind: 'absent' };
        const how = restarting ? 'is between two starts' : 'has ended';
        const oom = inspect?.State?.OOMKilled === true ? ', out of memory' : '';
        const note = `the container ${how}: exit code ${this.#exitCode ?? 'unknown'}${oom}`;
        return { kind: 'kept', note, recheckMs: leftMs };
      }
    }
  }

  /** Since when it has not been running: the engine's word survives our restarts, our own memory a removal. */
  #endedSinceMs(inspect: ContainerInspect | undefined, nowMs: number, wallMs: number): number {
    const finished = Date.parse(inspect?.State?.FinishedAt ?? '');
    // The engine writes year 1 for "never".
    if (finished > 0) return Math.max(0, wallMs - finished);
    return this.#startedAt === '' && inspect === undefined ? Infinity : nowMs - (this.#endedAtMs ?? nowMs);
  }

  #loop(policy: Policy, nowMs: number): { note: string; recheckMs: number } | undefined {
    if (policy.flapsMax === 0 || this.#starts.length < policy.flapsMax) return undefined;
    const leftMs = this.#starts[0]! + policy.flapWindowMs - nowMs;
    if (leftMs <= 0) return undefined;
    const exit = this.#exitCode === undefined ? '' : `, last exit code ${this.#exitCode}`;
    const note = `restart loop: ${this.#starts.length} starts within ${formatGoDurationMs(policy.flapWindowMs)}${exit}`;
    return { note, recheckMs: leftMs };
  }
}

/** Whether an exit code is a failure: not 0 and not the end by a signal; a plain `exit 255` is one (R8). */
export function isFailure(exitCode: number): boolean {
  if (exitCode === 0) return false;
  return !(exitCode > signalExitBase && exitCode <= signalExitBase + signalMax);
}
