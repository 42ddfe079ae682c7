import { acquireLock, type HeldLock, lockKey } from '../../client/index.ts';
import { SystemClock } from '../../node/system-clock.ts';
import { type Child, startChild } from '../child.ts';
import { attempt, CliError, command } from '../command.ts';
import { serverFlags } from '../flags.ts';

/** Time a child has to end after SIGTERM, ms. */
const killGraceMs = 5000;
/** Exit code with -child-exit-code when the child failed. */
const childFailedExitCode = 2;

export const lock = command({
  name: 'lock',
  operands: 'PREFIX CHILD...',
  summary: 'Run a command while holding a lock',
  description: [
    'Waits for the lock at PREFIX/.lock, runs CHILD, and gives the lock back when it ends. When the lock is lost, or on an interrupt, the child is ended: SIGTERM, and after 5 s SIGKILL. With -n several may hold it at a time. CHILD sees CONSUL_LOCK_HELD=true.',
  ],
  flags: {
    ...serverFlags,
    n: { kind: 'int', value: 'NUMBER', help: 'Holders at a time; all must say the same. Default 1.' },
    name: { kind: 'string', value: 'TEXT', help: 'Name of the session. Default: made of command and prefix.' },
    timeout: { kind: 'duration', value: 'DURATION', help: 'Longest wait for the lock. Default: no limit.' },
    try: { kind: 'duration', value: 'DURATION', help: 'Old name of -timeout.' },
    'monitor-retry': {
      kind: 'int',
      value: 'NUMBER',
      help: 'Times to ask again, a second apart, when servers cannot tell whether the lock is still held. Default 3.',
    },
    'child-exit-code': { kind: 'bool', help: 'End with exit code 2 when the child fails.' },
    'pass-stdin': { kind: 'bool', help: 'Give standard input to the child.' },
    shell: { kind: 'bool', help: 'Let a shell read CHILD. Default true.' },
    verbose: { kind: 'bool', help: 'Say what is done.' },
  },
  async run({ io, values, args, out, warn, client }) {
    const [prefix, ...words] = args;
    if (prefix === undefined || words.length === 0) {
      throw new CliError('Key prefix and child command must be specified');
    }
    const { n: limit = 1, 'monitor-retry': monitorRetries = 3 } = values;
    if (limit <= 0) throw new CliError('Lock holder limit must be positive');
    if (monitorRetries < 0) throw new CliError("Number for 'monitor-retry' must be >= 0");
    const timeoutMs = values.timeout ?? values.try ?? 0;
    if (timeoutMs < 0) throw new CliError('Timeout must be positive');
    const say = (line: string): void => void (values.verbose && out(line));
    const agent = client();
    const clock = new SystemClock();
    const stop = new AbortController();
    const removeHandler = io.onSignal(() => stop.abort());
    const timer = timeoutMs > 0 ? clock.after(timeoutMs, () => stop.abort()) : undefined;
    try {
      say(
        `Setting up ${limit === 1 ? 'lock at path: ' : `semaphore (limit ${limit}) at prefix: `}${limit === 1 ? lockKey(prefix) : prefix}`,
      );
      say(`Attempting ${limit === 1 ? 'lock' : 'semaphore'} acquisition`);
      const held = await attempt(
        'Lock acquisition failed',
        acquireLock(
          agent,
          clock,
          {
            prefix,
            limit,
            sessionName: values.name || `Consul lock for '${words.join(' ')}' at '${prefix}'`,
            monitorRetries,
          },
          stop.signal,
        ),
      );
      if (held === undefined) throw new CliError('Shutdown triggered or timeout during lock acquisition');
      timer?.cancel();
      say('Starting handler');
      const child = startChild(io, words, {
        shell: values.shell ?? true,
        inheritStdin: values['pass-stdin'] ?? false,
        env: { CONSUL_LOCK_HELD: 'true' },
      });
      const failure = await supervise(child, held, stop.signal, clock, say).catch(
        (error: unknown) => (error as Error).message,
      );
      if (failure !== undefined) warn(`Error running handler: ${failure}`);
      say('Child terminated, releasing lock');
      await attempt('Lock release failed', held.release());
      say(
        (await attempt('Lock cleanup failed', held.cleanup())) ? 'Cleanup succeeded' : 'Cleanup aborted, lock in use',
      );
      return failure !== undefined && values['child-exit-code'] ? childFailedExitCode : 0;
    } finally {
      timer?.cancel();
      removeHandler();
    }
  },
});

/** Waits for the child's end and sees to it when the lock is lost or `signal` says so. */
async function supervise(
  child: Child,
  held: HeldLock,
  signal: AbortSignal,
  clock: SystemClock,
  say: (line: string) => void,
): Promise<string | undefined> {
  const interrupted = new Promise<'interrupt'>((resolve) => {
    if (signal.aborted) resolve('interrupt');
    else signal.addEventListener('abort', () => resolve('interrupt'), { once: true });
  });
  const first = await Promise.race([
    child.ended.then((end) => ({ end })),
    held.lost.then(() => 'lost' as const),
    interrupted,
  ]);
  if (typeof first === 'object') return first.end;
  say(first === 'lost' ? 'Lock lost, killing child' : 'Shutdown triggered, killing child');
  child.kill('SIGTERM');
  const timer = clock.after(killGraceMs, () => child.kill('SIGKILL'));
  await child.ended;
  timer.cancel();
  return undefined;
}
