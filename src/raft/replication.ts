/**
 * What a leader knows about one follower's log, and when it may send it more. It starts with a guess and probes
 * backwards, one request at a time, until the logs agree; then it streams, several requests in flight. A failed
 * request waits longer each time before it is tried again.
 */
import type { Random } from '../ports/index.ts';
import { randomTimeout } from './timeout.ts';

/** Requests in flight while streaming; enough to hide a round trip, few enough to bound memory. */
const pipelineMax = 32;

/** A failed request waits 10 ms · 2^(n−2) from the third failure on, up to n = 12 (reference/raft.md §1.6). */
const backoffBaseMs = 10;
const backoffFreeFailures = 2;
const backoffFailuresMax = 12;

export function backoffMs(failures: number): number {
  if (failures <= backoffFreeFailures) return 0;
  return backoffBaseMs * 2 ** (Math.min(failures, backoffFailuresMax) - backoffFreeFailures);
}

export class Follower {
  readonly id: string;
  address: string;
  /** The next entry to send. */
  nextIndex: number;
  /** The last entry known to be on its disk. */
  matchIndex = 0;
  /** When the newest request that it answered was sent, ms. */
  lastContactMs: number;
  streaming = false;
  inFlight = 0;
  snapshotInFlight = false;
  heartbeatInFlight = false;
  /** When the commit index is to be told again, ms. */
  keepaliveDueMs: number;
  heartbeatDueMs: number;
  #failures = 0;
  #heartbeatFailures = 0;
  #retryAtMs = 0;
  #heartbeatRetryAtMs = 0;

  constructor(id: string, address: string, nextIndex: number, nowMs: number) {
    this.id = id;
    this.address = address;
    this.nextIndex = nextIndex;
    this.lastContactMs = nowMs;
    this.keepaliveDueMs = nowMs;
    this.heartbeatDueMs = nowMs;
  }

  /** Whether a request may go out now. */
  mayAppend(nowMs: number): boolean {
    if (this.snapshotInFlight || nowMs < this.#retryAtMs) return false;
    return this.inFlight < (this.streaming ? pipelineMax : 1);
  }

  mayHeartbeat(nowMs: number): boolean {
    return !this.heartbeatInFlight && nowMs >= this.#heartbeatRetryAtMs;
  }

  /** It has everything up to `index`. */
  accepted(index: number): void {
    this.matchIndex = Math.max(this.matchIndex, index);
    this.nextIndex = Math.max(this.nextIndex, this.matchIndex + 1);
    this.streaming = true;
    this.#failures = 0;
    this.#retryAtMs = 0;
  }

  /** Its log differs before `prevIndex + 1` and ends at `lastLog`. */
  rejected(prevIndex: number, lastLog: number, noBackoff: boolean, nowMs: number): void {
    // Answers to what was streamed behind the first refusal come late: they may only lower the guess.
    this.nextIndex = Math.max(1, Math.min(this.nextIndex, prevIndex, lastLog + 1));
    this.streaming = false;
    this.#failures = noBackoff ? 0 : this.#failures + 1;
    this.#retryAtMs = nowMs + backoffMs(this.#failures);
  }

  /** A request got no answer: what was in flight behind it is in doubt. */
  failed(nowMs: number): void {
    this.nextIndex = this.matchIndex + 1;
    // Of many that were in flight together, the first and the last one count.
    if (this.streaming || this.inFlight === 0) this.#failures++;
    this.streaming = false;
    this.#retryAtMs = nowMs + backoffMs(this.#failures);
  }

  heartbeatAnswered(ok: boolean, nowMs: number): void {
    this.heartbeatInFlight = false;
    this.#heartbeatFailures = ok ? 0 : this.#heartbeatFailures + 1;
    this.#heartbeatRetryAtMs = nowMs + backoffMs(this.#heartbeatFailures);
  }

  scheduleKeepalive(nowMs: number, commitTimeoutMs: number, random: Random): void {
    this.keepaliveDueMs = nowMs + randomTimeout(commitTimeoutMs, random);
  }

  scheduleHeartbeat(nowMs: number, heartbeatTimeoutMs: number, random: Random): void {
    this.heartbeatDueMs = nowMs + randomTimeout(heartbeatTimeoutMs / 10, random);
  }

  /** When something may have to be sent next, ms. */
  dueMs(hasEntries: boolean): number {
    const heartbeat = this.heartbeatInFlight
      ? Number.POSITIVE_INFINITY
      : Math.max(this.heartbeatDueMs, this.#heartbeatRetryAtMs);
    const blocked = this.snapshotInFlight || this.inFlight >= (this.streaming ? pipelineMax : 1);
    if (blocked) return heartbeat;
    const append = hasEntries ? this.#retryAtMs : Math.max(this.#retryAtMs, this.keepaliveDueMs);
    return Math.min(heartbeat, append);
  }
}
