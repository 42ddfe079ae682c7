// Docker checks on a real engine: results, output, and above all the end of commands that hang. What counts is what
// `docker top` shows of the container afterwards.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Checks, createChecks } from '../../src/checks/index.ts';
import { SystemClock } from '../../src/node/system-clock.ts';
import { SystemProcessRunner } from '../../src/node/process-runner.ts';
import type { ExecResult } from '../../src/ports/index.ts';
import { SeededRandom } from '../../src/sim/seeded-random.ts';
import { recordingLogger, recordingMetrics } from '../unit/checks/support.ts';
import { waitUntil } from '../helpers/wait.ts';
import { engineSkipReason, startEngine, type TestEngine } from './support/dockerd.ts';
import { realEngine, type RealEngine } from './support/real-engine.ts';

const skipped = engineSkipReason();
const limits = { timeoutMs: 20_000, outputBytesMax: 4096 };
const short = { timeoutMs: 1500, outputBytesMax: 4096 };
const text = (result: ExecResult): string => Buffer.from(result.output).toString('utf8');

describe.skipIf(skipped !== undefined)('on a real engine', () => {
  let docker: TestEngine;
  let near: RealEngine;
  let remote: RealEngine;
  let plain: string;
  let bare: string;

  beforeAll(async () => {
    docker = await startEngine();
    near = realEngine(docker.host);
    remote = realEngine(docker.host, { remote: true });
    plain = await docker.run('acme/plain');
    bare = await docker.run('acme/bare');
  });

  afterAll(async () => {
    await docker?.close();
  });

  describe('a docker check', () => {
    let running: Checks | undefined;

    afterEach(async () => {
      await running?.stop();
    });

    function start(): { checks: Checks; statuses: string[] } {
      const statuses: string[] = [];
      const clock = new SystemClock();
      const checks = createChecks({
        clock,
        random: new SeededRandom(1),
        logger: recordingLogger().logger,
        metrics: recordingMetrics().metrics,
        processRunner: new SystemProcessRunner({ clock }),
        docker: () => remote.engine,
        aliasSource: {
          local: () => ({ hasService: () => true, checks: () => [] }),
          onLocalChange: () => () => undefined,
          watchNode: () => () => undefined,
        },
        onStatus: (checkId, status, output) => statuses.push(`${checkId} ${status}: ${output}`),
      });
      running = checks;
      return { checks, statuses };
    }

    test('exit 0, 1, 2 and 126 are passing, warning, critical, critical; stderr is in the output; a timeout says so', async () => {
      const { checks, statuses } = start();
      const initial = { status: 'critical', output: '' };
      const add = (id: string, ...scriptArgs: string[]): void => {
        checks.add(id, { dockerContainerId: plain, scriptArgs, intervalMs: 1000, timeoutMs: 5000 }, initial);
      };
      add('zero', 'sh', '-c', 'echo out; echo err >&2');
      add('one', 'sh', '-c', 'echo careful >&2; exit 1');
      add('two', 'sh', '-c', 'exit 2');
      add('missing', '/no/such/program');
      const hang = {
        dockerContainerId: plain,
        scriptArgs: ['sh', '-c', 'echo begin; sleep 999'],
        intervalMs: 1000,
        timeoutMs: 1500,
      };
      checks.add('hang', hang, initial);
      const of = (id: string): Promise<string> =>
        waitUntil(id, () => statuses.find((status) => status.startsWith(`${id} `)));
      // The engine does not keep the order of the two streams.
      expect(await of('zero')).toMatch(/^zero passing: (out\nerr|err\nout)\n$/);
      expect(await of('one')).toBe('one warning: careful\n');
      expect(await of('two')).toBe('two critical: ');
      expect(await of('missing')).toMatch(/^missing critical: .*no such file or directory/s);
      expect(await of('hang')).toBe('hang critical: Timed out (1.5s) running check\n\nbegin\n');
      await checks.stop();
      expect(await docker.top(plain)).toEqual(['sleep 1000000']);
    });
  });

  const hanging = [
    ['a command', 'echo hi; sleep 100'],
    ['a command that ignores signals', 'trap "" TERM HUP INT QUIT; sleep 101; sleep 102'],
    ['a background child', 'sleep 103 & sleep 104'],
    ['a child in another session', 'setsid sleep 105 & sleep 106; echo'],
    ['a tree', 'sh -c "sh -c \\"sleep 107; true\\"; true"; true'],
  ] as const;

  describe.each([
    ['seen from the host', () => near, /^host: /],
    ['not seen from here', () => remote, /^shell: /],
  ])('%s', (_name, real, by) => {
    test.each(hanging)('%s that hangs is gone after its timeout', async (_what, script) => {
      const result = await real().engine.exec(plain, { argv: ['sh', '-c', script], ...short });
      expect(result).toMatchObject({
        exitCode: null,
        timedOut: true,
        ended: { gone: true, by: expect.stringMatching(by) },
      });
      expect(await docker.top(plain)).toEqual(['sleep 1000000']);
    });

    test('a command that ended, with a child that holds its output: the exit code counts, the child is ended', async () => {
      const result = await real().engine.exec(plain, { argv: ['sh', '-c', 'echo done; sleep 108 & exit 1'], ...short });
      expect(result).toMatchObject({ exitCode: 1, timedOut: false, ended: { gone: true } });
      expect(text(result)).toBe('done\n');
      expect(await docker.top(plain)).toEqual(['sleep 1000000']);
    });

    test('a timeout before the engine has begun the command leaves nothing behind', async () => {
      const run = (): Promise<ExecResult> =>
        real().engine.exec(plain, { argv: ['sleep', '116'], ...limits, timeoutMs: 1 });
      const results = await Promise.all(Array.from({ length: 8 }, run));
      for (const result of results) expect(result).toMatchObject({ timedOut: true, ended: { gone: true } });
      expect(await docker.top(plain)).toEqual(['sleep 1000000']);
    });

    test('an abort ends the command too', async () => {
      const abort = new AbortController();
      const running = real().engine.exec(plain, { argv: ['sleep', '109'], ...limits }, abort.signal);
      const outcome = running.catch((error: unknown) => error);
      await waitUntil('the command to run', async () => (await docker.top(plain)).includes('sleep 109'));
      abort.abort(new Error('check removed'));
      expect(await outcome).toMatchObject({ message: 'check removed' });
      expect(await docker.top(plain)).toEqual(['sleep 1000000']);
    });
  });

  test('as another user than root, it is ended as that user', async () => {
    const result = await remote.engine.exec(plain, {
      argv: ['sh', '-c', 'id -u; sleep 110'],
      user: '1000:1000',
      ...short,
    });
    expect(text(result)).toBe('1000\n');
    expect(result.ended).toMatchObject({ gone: true });
    expect(await docker.top(plain)).toEqual(['sleep 1000000']);
  });

  describe('a container without a shell', () => {
    test('seen from the host: killed from there', async () => {
      const result = await near.engine.exec(bare, { argv: ['/sleep', '111'], ...short });
      expect(result).toMatchObject({ timedOut: true, ended: { gone: true, by: expect.stringMatching(/^host: /) } });
      expect(await docker.top(bare)).toEqual(['/sleep 1000000']);
    });

    test('not seen from here: ended through its terminal', async () => {
      const result = await remote.engine.exec(bare, { argv: ['/sleep', '112'], ...short });
      expect(result).toMatchObject({ timedOut: true, ended: { gone: true, by: expect.stringMatching(/^tty: /) } });
      expect(result.outputBytesTotal).toBe(0);
      expect(await docker.top(bare)).toEqual(['/sleep 1000000']);
      expect(await remote.engine.exec(bare, { argv: ['/true'], ...limits })).toMatchObject({ exitCode: 0 });
    });
  });

  test('output is kept at its end, and counted', async () => {
    const argv = ['sh', '-c', 'seq 1 20000'];
    const result = await remote.engine.exec(plain, { argv, timeoutMs: 20_000, outputBytesMax: 12 });
    expect(text(result)).toBe('19999\n20000\n');
    expect(result.outputBytesTotal).toBe(108_894);
  });

  test('a run costs one exec and no more', async () => {
    const id = await docker.run('acme/plain');
    const since = await docker.docker('exec', plain, 'date', '+%s').catch(() => String(Math.floor(Date.now() / 1000)));
    for (let i = 0; i < 3; i++) await remote.engine.exec(id, { argv: ['true'], ...limits });
    const until = String(Math.floor(Date.now() / 1000) + 1);
    const seen = await docker.docker(
      'events',
      '--since',
      since,
      '--until',
      until,
      '--filter',
      `container=${id}`,
      '--format',
      '{{.Action}}',
    );
    expect(seen.split('\n').filter((action) => action.startsWith('exec_create'))).toHaveLength(3);
  });

  describe('while the command runs', () => {
    test('paused: the orphan is counted and logged, and ended before the next run', async () => {
      const id = await docker.run('acme/plain');
      const real = realEngine(docker.host, { remote: true });
      const running = real.engine.exec(id, { argv: ['sh', '-c', 'sleep 113'], ...short });
      await waitUntil('the command to run', async () => (await docker.top(id)).includes('sleep 113'));
      await docker.docker('pause', id);
      expect(await running).toMatchObject({
        timedOut: true,
        ended: { gone: false, by: expect.stringContaining('paused') },
      });
      expect(real.counters.get('docker.exec.orphan')).toBe(1);
      expect(real.lines).toContainEqual(
        expect.objectContaining({ level: 'warn', fields: expect.objectContaining({ container: id }) }),
      );
      await docker.docker('unpause', id);
      expect(await docker.top(id)).toContain('sleep 113');
      expect(await real.engine.exec(id, { argv: ['true'], ...limits })).toMatchObject({ exitCode: 0 });
      expect(await docker.top(id)).toEqual(['sleep 1000000']);
    });

    test.each([
      ['stopped', ['stop', '-t', '0']],
      ['killed', ['kill']],
    ])('%s: the command was killed', async (_what, command) => {
      const id = await docker.run('acme/plain');
      const running = remote.engine.exec(id, { argv: ['sleep', '114'], ...limits });
      await waitUntil('the command to run', async () => (await docker.top(id)).includes('sleep 114'));
      await docker.docker(...command, id);
      expect((await running).exitCode).toBe(137);
    });

    test('removed: an answer or a 404, never a hang', async () => {
      const id = await docker.run('acme/plain');
      const running = remote.engine.exec(id, { argv: ['sleep', '115'], ...limits });
      const outcome = running.then(
        ({ exitCode }) => exitCode,
        (error: unknown) => (error as { statusCode?: number }).statusCode,
      );
      await waitUntil('the command to run', async () => (await docker.top(id)).includes('sleep 115'));
      await docker.docker('rm', '-f', id);
      expect([137, 404]).toContain(await outcome);
    });
  });

  test('a container that cannot run it is refused in Consul’s words', async () => {
    const id = await docker.run('acme/plain');
    const exec = (container: string): Promise<ExecResult> =>
      remote.engine.exec(container, { argv: ['true'], ...limits });
    await docker.docker('pause', id);
    await expect(exec(id)).rejects.toThrow(`create exec failed since container ${id} is paused or stopped`);
    await docker.docker('unpause', id);
    await docker.docker('kill', id);
    await expect(exec(id)).rejects.toThrow(`create exec failed since container ${id} is paused or stopped`);
    await docker.docker('rm', id);
    await expect(exec(id)).rejects.toThrow(`create exec failed for unknown container ${id}`);
  });

  test('no engine: the error says what to do', async () => {
    const { engine } = realEngine('unix:///tmp/portolan-no-such.sock');
    await expect(engine.exec('x', { argv: ['true'], ...limits })).rejects.toThrow(
      /^create exec failed for container x: no Docker engine at .*Start Docker/,
    );
  });
});
