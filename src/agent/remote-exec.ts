/**
 * Remote execution, the agent's side: an event names a folder in the KV store, the folder holds a command, and every
 * agent that the event is for runs it and writes into the folder that it began, what the command says, and how it ended.
 * All of it belongs to a session of the one who asked: once that is gone, so is the folder, and nothing can be written
 * any more. Off unless `disable_remote_exec = false`, since it gives a shell to whoever may fire events.
 */
import { byteStringFromUtf8 } from '../lib/index.ts';
import { parseGoJson } from '../codec/index.ts';
import type { NamedCaller, UserEvent } from '../model/index.ts';
import type { Clock, Logger, ProcessRunner, Timer } from '../ports/index.ts';

/** Name of the event. */
export const remoteExecEvent = '_rexec';

/** Output is written in pieces of this size, bytes, or after this silence, ms; as the reference agent. */
const outputBytes = 4096;
const outputIdleMs = 500;
/** Output that may wait to be written, bytes; a command that says more is cut short. */
const outputWaitingBytesMax = 4 * 1024 * 1024;
/** A command may take its time; one that is still there after a day hangs, ms. */
const runTimeoutMs = 24 * 3600 * 1000;
/** Commands at a time; more are refused, and the one who asked sees no acknowledgement. */
const runsMax = 32;
/** Without output a sign of life is written this often, ms, when the job does not say. */
const waitMsDefault = 2000;
/** What is told when a command could not be run at all. */
const failedExitCode = 255;

/** The command in the folder; `Script` is base64, `Wait` nanoseconds. */
interface Job {
  readonly Command?: string;
  readonly Args?: readonly string[];
  readonly Script?: string;
  readonly Wait?: number;
}

export interface RemoteExecOptions {
  readonly caller: NamedCaller;
  readonly datacenter: string;
  readonly nodeName: string;
  /** The agent's own token. */
  readonly token: () => string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly processRunner: ProcessRunner;
  /** Puts a script where it can be run from; `remove` deletes it. */
  readonly storeScript: (script: Uint8Array) => Promise<{ readonly path: string; remove(): Promise<void> }>;
  /** The program that reads command lines. */
  readonly shell: string;
  /** `disable_remote_exec`. */
  readonly disabled: boolean;
}

export class RemoteExec {
  readonly #options: RemoteExecOptions;
  readonly #stop = new AbortController();
  #runs = 0;

  constructor(options: RemoteExecOptions) {
    this.#options = options;
  }

  /** Kills what runs. */
  stop(): void {
    this.#stop.abort();
  }

  /** Does what the event asks for; settles when that is done. Never rejects. */
  async handle(event: Pick<UserEvent, 'ID' | 'Payload'>): Promise<void> {
    const { logger, disabled } = this.#options;
    if (disabled) {
      logger.info('ignoring remote exec event, disabled.', { event_id: event.ID });
      return;
    }
    if (this.#runs >= runsMax) {
      logger.warn('remote exec refused, too many are running', { running: this.#runs });
      return;
    }
    this.#runs++;
    try {
      await this.#execute(event);
    } catch (error) {
      if (!this.#stop.signal.aborted) logger.error('remote exec failed', { error });
    } finally {
      this.#runs--;
    }
  }

  async #execute({ Payload }: Pick<UserEvent, 'Payload'>): Promise<void> {
    const { Prefix, Session } = parseGoJson(Payload ?? new Uint8Array()) as { Prefix?: string; Session?: string };
    if (!Prefix || !Session) throw new Error('the event names no folder and session');
    const folder = new JobFolder(this.#options, Prefix, Session);
    const job = await folder.readJob();
    if (job === undefined) {
      this.#options.logger.debug('remote exec aborted, job missing');
      return;
    }
    if (!(await folder.write('ack'))) {
      this.#options.logger.debug('remote exec aborted, its session is gone');
      return;
    }
    let exitCode = failedExitCode;
    try {
      exitCode = await this.#run(job, folder);
    } finally {
      await folder.write('exit', Buffer.from(String(exitCode)));
    }
  }

  /** @returns the exit code, -1 when a signal ended it. */
  async #run(job: Job, folder: JobFolder): Promise<number> {
    const { clock, logger, processRunner, shell } = this.#options;
    const script = job.Script ? await this.#options.storeScript(Buffer.from(job.Script, 'base64')) : undefined;
    const ended = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, ended.signal]);
    const output = new OutputPieces(clock, job.Wait ? job.Wait / 1e6 : waitMsDefault);
    try {
      const argv = job.Args && job.Args.length > 0 ? job.Args : [shell, '-c', script?.path ?? job.Command ?? ''];
      logger.info('remote exec script', { script: argv.join(' ') });
      const running = processRunner
        .run(argv, {
          timeoutMs: runTimeoutMs,
          outputBytesMax: 0,
          signal,
          onOutput: (chunk) => {
            if (!output.push(chunk)) ended.abort(new Error('it says more than can be written'));
          },
        })
        .finally(() => output.end());
      // Looked at below, after the output.
      running.catch(() => undefined);
      for (let piece = await output.next(); piece !== undefined; piece = await output.next()) {
        if (!(await folder.writeOutput(piece))) ended.abort(new Error('its session is gone'));
      }
      const { exitCode, startError } = await running;
      if (startError === undefined) return exitCode ?? -1;
      logger.debug('failed to start remote exec', { error: startError });
      return failedExitCode;
    } finally {
      // Whatever went wrong here, nothing may run on that nobody hears of.
      ended.abort(new Error('its output cannot be written'));
      output.end();
      await script?.remove();
    }
  }
}

/** What the folder of one job holds, and this node's part of it. */
class JobFolder {
  readonly #options: RemoteExecOptions;
  readonly #folder: string;
  readonly #session: string;
  #pieces = 0;

  constructor(options: RemoteExecOptions, prefix: string, session: string) {
    this.#options = options;
    this.#folder = `${prefix.replace(/\/+$/, '')}/${session}`;
    this.#session = session;
  }

  /** The job; undefined when it is not there (any more). */
  async readJob(): Promise<Job | undefined> {
    // Any server may answer, which spreads the load of a large fleet; one that has not heard of the job yet is not
    // the last word.
    for (const AllowStale of [true, false]) {
      const { Entries } = await this.#options.caller.call('KVS.Get', {
        ...this.#target(),
        Key: byteStringFromUtf8(`${this.#folder}/job`),
        AllowStale,
      });
      const value = Entries?.[0]?.Value;
      if (value) return parseGoJson(value) as Job;
    }
    return undefined;
  }

  /** Writes a key of this node. @returns false when the session is gone. */
  async write(name: string, value?: Uint8Array): Promise<boolean> {
    return this.#options.caller.call('KVS.Apply', {
      ...this.#target(),
      Op: 'lock',
      DirEnt: {
        Key: byteStringFromUtf8(`${this.#folder}/${this.#options.nodeName}/${name}`),
        Value: value ?? null,
        Session: this.#session,
      },
    });
  }

  /** Writes the next piece of output; an empty one is a sign of life. */
  writeOutput(piece: Uint8Array): Promise<boolean> {
    const number = (this.#pieces++).toString(16).padStart(5, '0');
    return this.write(`out/${number}`, piece);
  }

  #target(): { readonly Datacenter: string; readonly Token?: string } {
    const Token = this.#options.token();
    return { Datacenter: this.#options.datacenter, ...(Token === '' ? {} : { Token }) };
  }
}

/** Output as it is to be written: full pieces at once, the rest after a silence, and empty ones as signs of life. */
class OutputPieces {
  readonly #clock: Clock;
  readonly #waitMs: number;
  readonly #waiting: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;
  /** The rest has waited long enough. */
  #due = false;
  #idle: Timer | undefined;
  #wake: (() => void) | undefined;

  constructor(clock: Clock, waitMs: number) {
    this.#clock = clock;
    this.#waitMs = waitMs;
  }

  /** @returns false when more waits than may. */
  push(chunk: Uint8Array): boolean {
    this.#waiting.push(chunk);
    this.#bytes += chunk.length;
    this.#idle?.cancel();
    this.#idle = this.#clock.after(outputIdleMs, () => {
      this.#due = true;
      this.#wake?.();
    });
    this.#wake?.();
    return this.#bytes <= outputWaitingBytesMax;
  }

  end(): void {
    this.#ended = true;
    this.#idle?.cancel();
    this.#wake?.();
  }

  /** The next piece; undefined after the last one. */
  async next(): Promise<Uint8Array | undefined> {
    let isTimeForLife = false;
    const life = this.#clock.after(this.#waitMs, () => {
      isTimeForLife = true;
      this.#wake?.();
    });
    try {
      for (;;) {
        if (this.#bytes >= outputBytes || (this.#bytes > 0 && (this.#due || this.#ended))) return this.#take();
        if (this.#ended) return undefined;
        if (isTimeForLife) return new Uint8Array();
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      life.cancel();
    }
  }

  #take(): Uint8Array {
    const [first = new Uint8Array(), ...more] = this.#waiting.splice(0);
    const all = more.length === 0 ? first : Buffer.concat([first, ...more]);
    const piece = all.subarray(0, outputBytes);
    const rest = all.subarray(outputBytes);
    if (rest.length > 0) this.#waiting.push(rest);
    this.#bytes = rest.length;
    this.#due &&= rest.length > 0;
    return piece;
  }
}
