/**
 * A command inside a container: create, start, read, inspect; and, when its time is over, its real end. The engine has
 * no call that ends an exec, and closing the connection leaves the process running for ever, so there are three ways:
 *
 * - `host`: the engine's pid of the command is visible in our /proc and belongs to that container (agent on the host,
 *   or in a container with `--pid=host`): SIGKILL to it, its descendants and everything with its mark.
 * - `shell`: a second exec, of a shell script, kills every process in the container whose environment has the mark
 *   `PORTOLAN_EXEC=<id>`, which the command was started with and its children inherit.
 * - `tty`: a container without a shell gets its commands on a terminal; Ctrl-\ there is SIGQUIT to the whole
 *   foreground process group. (Closing the terminal's connection does nothing: the engine keeps it open.)
 *
 * Whether there is a shell is asked once a container, with a file look-up that makes no event. In the normal case a run
 * costs its one exec and nothing more. What could not be ended is counted, logged, and tried again before the next run
 * in that container.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { TailBuffer } from '../lib/index.ts';
import { EngineError, sleep } from '../ports/index.ts';
import type { Clock, ContainerInspect, ExecOptions, ExecResult, Logger, Metrics, Random } from '../ports/index.ts';
import type { EngineTransport } from './dockerode-engine.ts';

/** The variable by which a command and its children are found again. */
const markName = 'PORTOLAN_EXEC';
/** After the kill, how long the engine may take to say that the command is gone, ms; and how often it is asked. */
const goneWaitMs = 3000;
const goneAskMs = 50;
/** A command that is to be ended must have begun; an engine under load takes its time, ms. */
const beginWaitMs = 10_000;
/** A killing shell takes this long at most, ms. */
const killExecTimeoutMs = 5000;
/** A process may fork while the list of processes is read, so it is read again until nothing is found. */
const killRoundsMax = 5;
/** Containers of which it is remembered whether they have a shell, and what was left in them; the oldest go first. */
const containersRemembered = 4096;
/** Marks remembered a container: that many orphans are a broken container, and every one was logged. */
const leftoversMax = 16;
/** Ctrl-\ : SIGQUIT to the foreground process group of a terminal; and Ctrl-C, for who handles only that. */
const quitKeys = Buffer.from([0x1c, 0x03]);

interface ExecInspect {
  readonly Running?: boolean;
  readonly ExitCode?: number | null;
  readonly Pid?: number;
  readonly ContainerID?: string;
}

/** A command that was started, and what is needed to end it. */
interface Started {
  readonly containerId: string;
  readonly execId: string;
  readonly mark: string;
  readonly user: string | undefined;
  /** The terminal, when it has one. */
  readonly terminal: Duplex | undefined;
}

type Ended = NonNullable<ExecResult['ended']>;

export class DockerExec {
  readonly #transport: EngineTransport;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  readonly #procPath: string;
  /** Container → whether its commands must be on a terminal. */
  readonly #terminals = new Map<string, Promise<boolean>>();
  /** Container → commands that could not be ended. */
  readonly #leftovers = new Map<string, { readonly mark: string; readonly user: string | undefined }[]>();

  constructor(options: {
    readonly transport: EngineTransport;
    readonly clock: Clock;
    readonly random: Random;
    readonly logger: Logger;
    readonly metrics: Metrics;
    readonly procPath?: string;
  }) {
    this.#transport = options.transport;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#logger = options.logger;
    this.#metrics = options.metrics;
    this.#procPath = options.procPath ?? '/proc';
  }

  /** {@link DockerEngine.exec}; an abort ends the command in the same way as the timeout, then rejects. */
  async run(containerId: string, options: ExecOptions, signal?: AbortSignal): Promise<ExecResult> {
    signal?.throwIfAborted();
    const onTerminal = await this.#needsTerminal(containerId);
    await this.#endLeftovers(containerId);
    const mark = this.#random.uuid();
    const execId = await this.#create(containerId, options, mark, onTerminal);
    const cut = new AbortController();
    const output = new TailBuffer(options.outputBytesMax);
    const stream = await this.#start(containerId, execId, onTerminal, cut.signal);
    const started: Started = {
      containerId,
      execId,
      mark,
      user: options.user,
      terminal: onTerminal ? stream : undefined,
    };
    const reading = onTerminal ? readRaw(stream, output) : readFrames(stream, output);
    try {
      const why = await this.#raceEnd(reading, options.timeoutMs, signal);
      if (why !== 'ended') return await this.#cutShort(started, output, why, signal);
      const { ExitCode, Running } = await this.#inspect(started);
      // The connection may break while the command runs, and the engine then still answers.
      if (Running === true) return await this.#cutShort(started, output, 'broken', signal);
      return { exitCode: ExitCode ?? null, ...outputOf(output, onTerminal), timedOut: false };
    } finally {
      cut.abort();
      stream.destroy();
    }
  }

  #raceEnd(
    reading: Promise<void>,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<'ended' | 'timeout' | 'abort'> {
    return new Promise((resolve) => {
      const settle = (why: 'ended' | 'timeout' | 'abort'): void => {
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
        resolve(why);
      };
      const onAbort = (): void => settle('abort');
      const timer = this.#clock.after(timeoutMs, () => settle('timeout'));
      if (signal?.aborted) onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      // "Connection reset" while reading is an end as any other (reference/agent.md §4.6); inspect tells what it was.
      reading.then(
        () => settle('ended'),
        () => settle('ended'),
      );
    });
  }

  /** Ends what still runs. A command that had ended, but left a child holding its output, keeps its exit code. */
  async #cutShort(
    started: Started,
    output: TailBuffer,
    why: 'timeout' | 'abort' | 'broken',
    signal: AbortSignal | undefined,
  ): Promise<ExecResult> {
    const before = await this.#begun(started);
    // Taken now: a terminal echoes the keys that end the command.
    const written = outputOf(output, started.terminal !== undefined);
    const ended = await this.#end(started, before);
    if (!ended.gone) this.#rememberLeftover(started, ended.by);
    if (why === 'abort') throw signal?.reason as Error;
    if (why === 'broken') throw new EngineError('the connection to the command broke; it was ended', undefined);
    const exited = before.Running === false && typeof before.ExitCode === 'number';
    return {
      exitCode: exited ? (before.ExitCode ?? null) : null,
      ...written,
      timedOut: !exited,
      ended,
    };
  }

  /**
   * How the command is, once it has begun: the engine answers the start before the process exists, and what does not
   * exist yet cannot be killed and would begin afterwards.
   */
  async #begun(started: Started): Promise<ExecInspect> {
    for (let waitedMs = 0; ; waitedMs += goneAskMs) {
      const inspected = await this.#inspect(started);
      const begun = typeof inspected.ExitCode === 'number' || (inspected.Running === true && (inspected.Pid ?? 0) > 0);
      if (begun || waitedMs >= beginWaitMs) return inspected;
      await sleep(this.#clock, goneAskMs);
    }
  }

  /** Ends the command and all its children, and sees to it that they are gone. */
  async #end(started: Started, inspected: ExecInspect): Promise<Ended> {
    const pid = inspected.Pid ?? 0;
    const fullId = inspected.ContainerID ?? '';
    if (this.#processesOf(fullId).length > 0) {
      const failed = this.#killOnHost(inspected.Running === true ? pid : 0, fullId, started.mark);
      if (failed === undefined) return this.#waitGone(started, 'host: SIGKILL from the host');
      this.#logger.debug('cannot kill from the host, trying inside the container', { error: failed });
    }
    if (started.terminal !== undefined) {
      started.terminal.write(quitKeys);
      return this.#waitGone(started, 'tty: Ctrl-\\ on the terminal');
    }
    const failed = await this.#killByShell(started.containerId, started.mark, started.user);
    if (failed !== undefined) return { gone: false, by: `shell: ${failed}` };
    return this.#waitGone(started, 'shell: SIGKILL from a shell in the container');
  }

  async #waitGone(started: Started, by: string): Promise<Ended> {
    for (let waitedMs = 0; waitedMs <= goneWaitMs; waitedMs += goneAskMs) {
      const inspected = await this.#inspect(started).catch((error: unknown) => {
        // The exec went with its container.
        if (error instanceof EngineError && error.statusCode === 404) return { Running: false };
        throw error;
      });
      if (inspected.Running === false) return { gone: true, by };
      await sleep(this.#clock, goneAskMs);
    }
    return { gone: false, by: `${by}, and it still runs after ${goneWaitMs / 1000} s (is the container paused?)` };
  }

  /** Runs the killing script; undefined when nothing with the mark was left, else why not. */
  async #killByShell(containerId: string, mark: string, user: string | undefined): Promise<string | undefined> {
    try {
      // As the same user: another one, root included, may not read the environment without CAP_SYS_PTRACE.
      const argv = ['/bin/sh', '-c', killScript, 'sh', `${markName}=${mark}`];
      const execId = await this.#create(
        containerId,
        { argv, ...(user === undefined ? {} : { user }) },
        undefined,
        false,
      );
      const cut = new AbortController();
      const output = new TailBuffer(200);
      const stream = await this.#start(containerId, execId, false, cut.signal);
      const why = await this.#raceEnd(readFrames(stream, output), killExecTimeoutMs, undefined);
      cut.abort();
      stream.destroy();
      if (why !== 'ended') return `the killing shell did not end within ${killExecTimeoutMs / 1000} s`;
      const { ExitCode } = await this.#inspect({ containerId, execId });
      if (ExitCode === 0) return undefined;
      return `the killing shell ended with ${ExitCode}: ${Buffer.from(output.bytes()).toString('utf8').trim()}`;
    } catch (error) {
      // With the container its processes are gone.
      if (error instanceof EngineError && error.statusCode === 404) return undefined;
      return (error as Error).message;
    }
  }

  #rememberLeftover(started: Started, by: string): void {
    this.#metrics.count(['docker', 'exec', 'orphan']);
    this.#logger.warn('a command in a container could not be ended at its timeout', {
      container: started.containerId,
      exec: started.execId,
      tried: by,
    });
    const list = this.#leftovers.get(started.containerId) ?? [];
    if (list.length < leftoversMax) list.push({ mark: started.mark, user: started.user });
    remember(this.#leftovers, started.containerId, list);
  }

  async #endLeftovers(containerId: string): Promise<void> {
    const list = this.#leftovers.get(containerId);
    if (list === undefined || (await this.#needsTerminal(containerId))) return;
    this.#leftovers.delete(containerId);
    for (const { mark, user } of list) {
      const failed = await this.#killByShell(containerId, mark, user);
      if (failed === undefined) continue;
      remember(this.#leftovers, containerId, list);
      return;
    }
    this.#logger.info('commands left in a container by earlier timeouts were ended', { container: containerId });
  }

  /**
   * Whether the command must be on a terminal to be ended: no shell in the container, and its processes are not seen
   * from here. Where asking is not allowed (a filtering proxy), a shell is assumed.
   */
  #needsTerminal(containerId: string): Promise<boolean> {
    let known = this.#terminals.get(containerId);
    if (known === undefined) {
      known = this.#askNeedsTerminal(containerId).catch(() => {
        this.#terminals.delete(containerId);
        return false;
      });
      remember(this.#terminals, containerId, known);
    }
    return known;
  }

  async #askNeedsTerminal(containerId: string): Promise<boolean> {
    const path = `/containers/${encodeURIComponent(containerId)}`;
    try {
      await this.#transport.request({
        method: 'HEAD',
        path: `${path}/archive?`,
        query: { path: '/bin/sh' },
        success: [200],
      });
      return false;
    } catch (error) {
      if (!(error instanceof EngineError) || error.statusCode !== 404) throw error;
    }
    // 404 is also the answer for a container that does not exist: then this one throws.
    const inspected = (await this.#transport.request({
      method: 'GET',
      path: `${path}/json`,
      success: [200],
    })) as ContainerInspect;
    return !this.#isInContainer(inspected.State?.Pid ?? 0, inspected.Id);
  }

  async #create(
    containerId: string,
    options: Pick<ExecOptions, 'argv' | 'env' | 'user'>,
    mark: string | undefined,
    onTerminal: boolean,
  ): Promise<string> {
    const body = {
      AttachStdin: onTerminal,
      AttachStdout: true,
      AttachStderr: true,
      Tty: onTerminal,
      Cmd: options.argv,
      Env: [...(options.env ?? []), ...(mark === undefined ? [] : [`${markName}=${mark}`])],
      ...(options.user === undefined ? {} : { User: options.user }),
    };
    const path = `/containers/${encodeURIComponent(containerId)}/exec`;
    try {
      return ((await this.#transport.request({ method: 'POST', path, body, success: [201] })) as { Id: string }).Id;
    } catch (error) {
      throw explain(error, {
        404: `create exec failed for unknown container ${containerId}`,
        409: `create exec failed since container ${containerId} is paused or stopped`,
        other: (status, body) => `create exec failed for container ${containerId}${status}${body}`,
      });
    }
  }

  async #start(containerId: string, execId: string, onTerminal: boolean, signal: AbortSignal): Promise<Duplex> {
    const body = { Detach: false, Tty: onTerminal };
    const path = `/exec/${execId}/start`;
    try {
      return (await this.#transport.stream(
        { method: 'POST', path, body, success: [200] },
        signal,
        onTerminal,
      )) as Duplex;
    } catch (error) {
      throw explain(error, {
        404: `start exec failed for container ${containerId}: invalid exec id ${execId}`,
        409: `start exec failed since container ${containerId} is paused or stopped`,
        other: (status, body) =>
          `start exec failed for container ${containerId}${status}${status === ': ' ? body : `body: ${body} err: <nil>`}`,
      });
    }
  }

  async #inspect({ containerId, execId }: Pick<Started, 'containerId' | 'execId'>): Promise<ExecInspect> {
    try {
      return (await this.#transport.request({
        method: 'GET',
        path: `/exec/${execId}/json`,
        success: [200],
      })) as ExecInspect;
    } catch (error) {
      throw explain(error, {
        404: `inspect exec failed for container ${containerId}: invalid exec id ${execId}`,
        other: (status, body) => `inspect exec failed for container ${containerId}${status}${body}`,
      });
    }
  }

  /** Processes of a container that are visible here: their cgroup carries the container's id. */
  #processesOf(containerId: string): number[] {
    if (containerId === '') return [];
    try {
      return readdirSync(this.#procPath)
        .map(Number)
        .filter((pid) => pid > 1 && this.#isInContainer(pid, containerId));
    } catch {
      return [];
    }
  }

  #isInContainer(pid: number, containerId: string): boolean {
    return this.#readProc(pid, 'cgroup').includes(containerId);
  }

  /** Kills the command, its descendants and all processes of the container with its mark; why not, or undefined. */
  #killOnHost(rootPid: number, containerId: string, mark: string): string | undefined {
    const killed = new Set<number>();
    for (let round = 0; round < killRoundsMax; round++) {
      const before = killed.size;
      for (const pid of this.#processesOf(containerId)) {
        if (killed.has(pid)) continue;
        const parent = Number(/^\d+ \(.*\) \S (\d+)/s.exec(this.#readProc(pid, 'stat'))?.[1] ?? 0);
        const ours =
          pid === rootPid || killed.has(parent) || this.#readProc(pid, 'environ').includes(`${markName}=${mark}`);
        if (!ours) continue;
        try {
          process.kill(pid, 'SIGKILL');
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ESRCH') return (error as Error).message;
        }
        killed.add(pid);
      }
      if (killed.size === before) return undefined;
    }
    return 'it forks faster than it can be killed';
  }

  /** "" when the process is gone or may not be looked at. */
  #readProc(pid: number, file: string): string {
    try {
      return readFileSync(`${this.#procPath}/${pid}/${file}`, 'latin1');
    } catch {
      return '';
    }
  }
}

/** Kills all processes whose environment holds $1, until no further one is found. Shell builtins only. */
const killScript = `
seen=' '
round=0
while [ $round -lt ${killRoundsMax} ]; do
  found=
  for dir in /proc/[0-9]*; do
    pid=\${dir#/proc/}
    case "$seen" in *" $pid "*) continue ;; esac
    while IFS= read -r line || [ -n "$line" ]; do
      case "$line" in
        *"$1"*)
          found=1
          seen="$seen$pid "
          kill -9 "$pid"
          break
          ;;
      esac
    done 2>/dev/null <"$dir/environ"
  done
  [ -z "$found" ] && exit 0
  round=$((round + 1))
done
exit 1
`;

/** Consul's texts of a step (reference/agent.md §4.6), with the engine's own answer behind them. */
function explain(
  error: unknown,
  texts: {
    readonly 404: string;
    readonly 409?: string;
    /** `status` is ` with status N: `, or `: ` when there was no answer. */
    other(status: string, body: string): string;
  },
): unknown {
  if (!(error instanceof EngineError)) return error;
  const { statusCode, message } = error;
  const known = statusCode === 404 ? texts[404] : statusCode === 409 ? texts[409] : undefined;
  const status = statusCode === undefined ? ': ' : ` with status ${statusCode}: `;
  return new EngineError(known ?? texts.other(status, message), statusCode, { cause: error });
}

/** Reads the frames of a stream without terminal: 8 bytes of header (stream, 0, 0, 0, length), then the payload. */
async function readFrames(stream: AsyncIterable<unknown>, output: TailBuffer): Promise<void> {
  const header = Buffer.alloc(8);
  let headerBytes = 0;
  let payloadLeft = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length;) {
      if (payloadLeft > 0) {
        const payload = chunk.subarray(at, at + payloadLeft);
        output.push(payload);
        payloadLeft -= payload.length;
        at += payload.length;
        continue;
      }
      const copied = chunk.copy(header, headerBytes, at);
      headerBytes += copied;
      at += copied;
      if (headerBytes < header.length) continue;
      headerBytes = 0;
      payloadLeft = header.readUInt32BE(4);
    }
  }
}

async function readRaw(stream: AsyncIterable<unknown>, output: TailBuffer): Promise<void> {
  for await (const chunk of stream as AsyncIterable<Buffer>) output.push(chunk);
}

function outputOf(output: TailBuffer, onTerminal: boolean): Pick<ExecResult, 'output' | 'outputBytesTotal'> {
  const bytes = output.bytes();
  // A terminal writes a carriage return before each line feed.
  const plain = onTerminal
    ? Buffer.from(Buffer.from(bytes).toString('latin1').replaceAll('\r\n', '\n'), 'latin1')
    : bytes;
  return { output: plain, outputBytesTotal: output.bytesTotal };
}

/** Sets `key`, and drops the oldest entries beyond the limit. */
function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= containersRemembered) return;
    map.delete(oldest);
  }
}
