/**
 * Feeds committed entries to the state machine, in order and one after the other. What needs the state machine to
 * itself (a snapshot, a restore) queues up here as a job and runs between two entries.
 */
import { type Clock, sleep } from '../ports/index.ts';
import { type LogEntry, logTypes } from './log-entry.ts';
import type { StateMachine } from './state-machine.ts';
import type { LogStore } from './stores.ts';

/** Entries are taken from the log in pieces of this size. */
const readBytes = 1024 * 1024;

/** The event loop gets a turn after so many entries. */
const entriesPerTurn = 512;

interface Waiter {
  readonly index: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export interface ApplierOptions {
  readonly log: LogStore;
  readonly stateMachine: StateMachine;
  readonly clock: Clock;
  /** Up to here the state machine has everything already. */
  readonly appliedIndex: number;
  /** Called for each entry, whatever its type, with the result of a command. */
  readonly onApplied: (entry: LogEntry, result: unknown) => void;
  /** The state machine or the log cannot go on. */
  readonly onFailure: (error: Error) => void;
}

export class Applier {
  readonly #options: ApplierOptions;
  #appliedIndex: number;
  #commitIndex: number;
  #jobs: (() => Promise<void>)[] = [];
  #waiters: Waiter[] = [];
  #running = false;
  #stopped: Error | undefined;

  constructor(options: ApplierOptions) {
    this.#options = options;
    this.#appliedIndex = options.appliedIndex;
    this.#commitIndex = options.appliedIndex;
  }

  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  /** Committed entries that wait for the state machine. */
  get pending(): number {
    return Math.max(0, this.#commitIndex - this.#appliedIndex);
  }

  commit(index: number): void {
    this.#commitIndex = Math.max(this.#commitIndex, index);
    this.#wake();
  }

  /** The state machine was replaced by what a snapshot up to `index` holds. Only inside a job. */
  restored(index: number): void {
    this.#appliedIndex = index;
    this.#commitIndex = Math.max(this.#commitIndex, index);
    this.#settleWaiters();
  }

  /** Runs `job` when no entry is being applied. */
  exclusively<T>(job: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#stopped !== undefined) {
        reject(this.#stopped);
        return;
      }
      this.#jobs.push(() => job().then(resolve, reject));
      this.#wake();
    });
  }

  /** Resolves when everything up to `index` is applied. */
  async until(index: number): Promise<void> {
    if (this.#appliedIndex >= index) return;
    if (this.#stopped !== undefined) throw this.#stopped;
    await new Promise<void>((resolve, reject) => this.#waiters.push({ index, resolve, reject }));
  }

  /** Applies nothing more. */
  stop(reason: Error): void {
    this.#stopped = reason;
    for (const { reject } of this.#waiters) reject(reason);
    this.#waiters = [];
    this.#jobs = [];
  }

  #wake(): void {
    if (this.#running) return;
    this.#running = true;
    this.#run().catch((error: unknown) => {
      if (this.#stopped === undefined) this.#options.onFailure(error as Error);
    });
  }

  async #run(): Promise<void> {
    const { log, clock } = this.#options;
    let budget = entriesPerTurn;
    while (this.#stopped === undefined) {
      const job = this.#jobs.shift();
      if (job !== undefined) {
        await job();
        continue;
      }
      // What is committed may still be on its way to us behind a snapshot.
      const through = Math.min(this.#commitIndex, log.lastIndex, this.#appliedIndex + budget);
      if (this.#appliedIndex >= through) {
        // Together with the look at what there is, or a wake-up in between would be lost.
        this.#running = false;
        return;
      }
      const entries = await log.read(this.#appliedIndex + 1, through, readBytes);
      if (this.#stopped !== undefined) return;
      for (const entry of entries) this.#apply(entry);
      this.#settleWaiters();
      budget -= entries.length;
      if (budget <= 0) {
        budget = entriesPerTurn;
        await sleep(clock, 0);
      }
    }
  }

  #apply(entry: LogEntry): void {
    const { stateMachine, onApplied } = this.#options;
    if (!knownTypes.has(entry.Type)) throw new Error(`log entry ${entry.Index} has the unknown type ${entry.Type}`);
    const result = entry.Type === logTypes.command ? stateMachine.apply(entry) : undefined;
    this.#appliedIndex = entry.Index;
    onApplied(entry, result);
  }

  #settleWaiters(): void {
    if (this.#waiters.length === 0) return;
    const ready = this.#waiters.filter(({ index }) => index <= this.#appliedIndex);
    if (ready.length === 0) return;
    this.#waiters = this.#waiters.filter(({ index }) => index > this.#appliedIndex);
    for (const { resolve } of ready) resolve();
  }
}

const knownTypes: ReadonlySet<number> = new Set(Object.values(logTypes));
