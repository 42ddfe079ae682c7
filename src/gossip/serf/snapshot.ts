/**
 * The snapshot file lets a member that was restarted find the pool again, and keeps it from taking old events for new
 * ones. It is a journal of text lines: who is alive where, and the last Lamport times; when it has grown much larger
 * than what it says, it is written anew. A `leave` line means that the node went on purpose: it comes back as a
 * stranger, unless told otherwise (reference/gossip.md §5.12).
 */
import type { AppendFile, Clock, Logger, Timer } from '../../ports/index.ts';

/** How often the member clock is looked at, ms. */
const clockIntervalMs = 500;
/** The file is written anew when it is larger than both: a fixed size, and so many bytes per member alive. */
const compactBytesMin = 128 * 1024;
const compactBytesPerMember = 256;

/** What a snapshot file says. */
export interface SnapshotState {
  /** Address `ip:port` by name, in the order of their last sign of life. */
  readonly alive: ReadonlyMap<string, string>;
  /** Last Lamport time seen of each kind; 0 = none. */
  readonly memberTime: number;
  readonly eventTime: number;
  readonly queryTime: number;
}

/** Reads a snapshot; lines it does not know, or cut by a crash, are passed over. */
export function replaySnapshot(text: string, options: { readonly rejoinAfterLeave: boolean }): SnapshotState {
  const alive = new Map<string, string>();
  const times = { clock: 0, 'event-clock': 0, 'query-clock': 0 };
  // A last line without an end was being written when the process died.
  for (const line of text.slice(0, text.lastIndexOf('\n') + 1).split('\n')) {
    const [, key = '', value = ''] = /^([a-z-]+)(?:: (.*))?$/.exec(line) ?? [];
    switch (key) {
      case 'alive': {
        const at = value.lastIndexOf(' ');
        if (at <= 0) break;
        const name = value.slice(0, at);
        alive.delete(name);
        alive.set(name, value.slice(at + 1));
        break;
      }
      case 'not-alive':
        alive.delete(value);
        break;
      case 'clock':
      case 'event-clock':
      case 'query-clock':
        if (/^\d+$/.test(value) && Number.isSafeInteger(Number(value))) times[key] = Number(value);
        break;
      case 'leave':
        if (options.rejoinAfterLeave) break;
        alive.clear();
        times.clock = times['event-clock'] = times['query-clock'] = 0;
        break;
    }
  }
  return { alive, memberTime: times.clock, eventTime: times['event-clock'], queryTime: times['query-clock'] };
}

export class Snapshot {
  readonly #file: AppendFile;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #memberClock: () => number;
  readonly #rejoinAfterLeave: boolean;
  readonly #alive: Map<string, string>;
  #memberTime: number;
  #eventTime: number;
  #queryTime: number;
  /** UTF-16 units written since the file was new; bytes near enough. */
  #size: number;
  #leaving = false;
  #timer: Timer | undefined;

  /** @param options.text what the file holds. */
  constructor(options: {
    readonly file: AppendFile;
    readonly text: string;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly rejoinAfterLeave: boolean;
    /** Time that the next intent will carry. */
    readonly memberClock: () => number;
  }) {
    this.#file = options.file;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#rejoinAfterLeave = options.rejoinAfterLeave;
    this.#memberClock = options.memberClock;
    const state = replaySnapshot(options.text, options);
    this.#alive = new Map(state.alive);
    this.#memberTime = state.memberTime;
    this.#eventTime = state.eventTime;
    this.#queryTime = state.queryTime;
    this.#size = options.text.length;
    if (options.text !== '' && !options.text.endsWith('\n')) this.#compact();
  }

  start(): void {
    this.#timer = this.#clock.after(clockIntervalMs, () => {
      this.#noteMemberTime();
      this.start();
    });
  }

  /** A member is alive at `address` (`ip:port`). A name that would break the line is left out: it cannot be rejoined. */
  memberAlive(name: string, address: string): void {
    if (this.#leaving || name.includes('\n')) return;
    this.#alive.set(name, address);
    this.#append(`alive: ${name} ${address}\n`);
  }

  /** A member left or failed. */
  memberGone(name: string): void {
    if (this.#leaving || name.includes('\n')) return;
    this.#alive.delete(name);
    this.#append(`not-alive: ${name}\n`);
  }

  sawEvent(time: number): void {
    if (time <= this.#eventTime) return;
    this.#eventTime = time;
    this.#append(`event-clock: ${time}\n`);
  }

  sawQuery(time: number): void {
    if (time <= this.#queryTime) return;
    this.#queryTime = time;
    this.#append(`query-clock: ${time}\n`);
  }

  /** This node leaves the pool for good. */
  async leave(): Promise<void> {
    this.#leaving = true;
    if (!this.#rejoinAfterLeave) this.#alive.clear();
    this.#append('leave\n');
    await this.#file.sync().catch(this.#report);
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#noteMemberTime();
    await this.#file.close().catch(this.#report);
  }

  #noteMemberTime(): void {
    const time = this.#memberClock() - 1;
    if (time <= this.#memberTime) return;
    this.#memberTime = time;
    this.#append(`clock: ${time}\n`);
  }

  #append(line: string): void {
    this.#size += line.length;
    if (this.#size > Math.max(compactBytesMin, compactBytesPerMember * this.#alive.size)) this.#compact();
    else this.#file.append(line);
  }

  #compact(): void {
    const lines = [...this.#alive].map(([name, address]) => `alive: ${name} ${address}\n`);
    lines.push(
      `clock: ${this.#memberTime}\n`,
      `event-clock: ${this.#eventTime}\n`,
      `query-clock: ${this.#queryTime}\n`,
    );
    // Not with rejoin-after-leave: there the line changes nothing.
    if (this.#leaving && !this.#rejoinAfterLeave) lines.push('leave\n');
    const text = lines.join('');
    this.#size = text.length;
    this.#file.replace(text);
  }

  readonly #report = (error: unknown): void => {
    this.#logger.error('serf: failed to write the snapshot; a restarted agent may not find the pool by itself', {
      error,
    });
  };
}
