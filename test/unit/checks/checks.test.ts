import { beforeEach, describe, expect, test } from 'vitest';
import { type Checks, type ChecksDeps, createChecks } from '../../../src/checks/index.ts';
import type { ProcessResult, ProcessRunner } from '../../../src/ports/index.ts';
import { sleep } from '../../../src/ports/index.ts';
import { FakeEngine } from '../../../src/sim/fake-engine.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { recordingLogger, recordingMetrics, type LogLine } from './support.ts';

/** Programs that answer by the clock: what each run does comes from `plan`. */
class PlannedPrograms implements ProcessRunner {
  readonly starts: { readonly argv: readonly string[]; readonly atMs: number }[] = [];
  readonly #clock: VirtualClock;
  plan: (run: number) => Partial<ProcessResult> & { durationMs?: number } = () => ({});

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  async run(argv: readonly string[], options: Parameters<ProcessRunner['run']>[1]): Promise<ProcessResult> {
    this.starts.push({ argv, atMs: this.#clock.monotonicMs() });
    const { durationMs = 0, ...result } = this.plan(this.starts.length);
    const output = result.output ?? new Uint8Array();
    const timedOut = durationMs > options.timeoutMs;
    if (timedOut) {
      await sleep(this.#clock, options.timeoutMs, options.signal);
      options.onTimeout?.(output);
      await sleep(this.#clock, durationMs - options.timeoutMs, options.signal);
    } else if (durationMs > 0) await sleep(this.#clock, durationMs, options.signal);
    return { exitCode: 0, signal: null, outputBytesTotal: output.length, ...result, output, timedOut };
  }
}

let clock: VirtualClock;
let programs: PlannedPrograms;
let engine: FakeEngine;
let checks: Checks;
let statuses: string[];
let lines: LogLine[];

function create(more: Partial<ChecksDeps> = {}): Checks {
  const log = recordingLogger();
  lines = log.lines;
  return createChecks({
    clock,
    random: new SeededRandom(1),
    logger: log.logger,
    metrics: recordingMetrics().metrics,
    processRunner: programs,
    docker: () => engine,
    aliasSource: {
      local: () => ({ hasService: () => true, checks: () => [] }),
      onLocalChange: () => () => undefined,
      watchNode: () => () => undefined,
    },
    onStatus: (checkId, status, output) => statuses.push(`${checkId} ${status}: ${output}`),
    ...more,
  });
}

beforeEach(() => {
  clock = new VirtualClock();
  programs = new PlannedPrograms(clock);
  engine = new FakeEngine({ clock });
  statuses = [];
  checks = create();
});

const critical = { status: 'critical', output: '' };
const bytes = (text: string): Uint8Array => Buffer.from(text, 'utf8');
const atMs = (): number[] => programs.starts.map((start) => start.atMs);

describe('the schedule', () => {
  test('the first run comes within the interval, each next one an interval after the end of the one before', async () => {
    programs.plan = () => ({ durationMs: 3000 });
    checks.add('c', { scriptArgs: ['x'], intervalMs: 10_000 }, critical);
    await clock.advance(60_000);
    const [first = -1, ...rest] = atMs();
    expect(first).toBeGreaterThanOrEqual(0);
    expect(first).toBeLessThan(10_000);
    expect(rest.length).toBeGreaterThanOrEqual(3);
    for (const [index, at] of rest.entries()) expect(at).toBeCloseTo(first + (index + 1) * 13_000, 6);
  });

  test('first runs of many checks spread over the interval', async () => {
    for (let i = 0; i < 100; i++) checks.add(`c${i}`, { scriptArgs: ['x'], intervalMs: 10_000 }, critical);
    await clock.advance(10_000);
    const firsts = atMs().slice(0, 100);
    for (let tenth = 0; tenth < 10; tenth++) {
      const inTenth = firsts.filter((at) => Math.floor(at / 1000) === tenth);
      expect(inTenth.length).toBeGreaterThan(2);
    }
  });

  test('an interval below a second is raised to it, with a warning', async () => {
    checks.add('c', { scriptArgs: ['x'], intervalMs: 10 }, critical);
    await clock.advance(10_000);
    expect(atMs().length).toBeLessThanOrEqual(10);
    expect(lines).toContainEqual(
      expect.objectContaining({ level: 'warn', message: 'check has interval below minimum' }),
    );
  });

  test('adding the same definition again changes nothing, another one starts anew', async () => {
    const definition = { scriptArgs: ['x'], intervalMs: 10_000 };
    checks.add('c', definition, critical);
    await clock.advance(15_000);
    const before = atMs();
    checks.add('c', { ...definition, name: 'renamed', notes: 'more' }, critical);
    await clock.advance(10_000);
    expect(atMs()).toHaveLength(before.length + 1);
    checks.add('c', { ...definition, scriptArgs: ['y'] }, critical);
    await clock.advance(10_000);
    expect(programs.starts.at(-1)?.argv).toEqual(['y']);
  });

  test('a removed check runs no more, and its last run has no say', async () => {
    programs.plan = () => ({ durationMs: 5000 });
    checks.add('c', { scriptArgs: ['x'], intervalMs: 1000 }, critical);
    await clock.advance(2000);
    expect(programs.starts).toHaveLength(1);
    checks.remove('c');
    checks.remove('c');
    await clock.advance(60_000);
    expect([programs.starts.length, statuses, clock.pendingTimers]).toEqual([1, [], 0]);
  });

  test('stop ends runs under way and leaves no timer', async () => {
    programs.plan = () => ({ durationMs: 1e9 });
    checks.add('s', { scriptArgs: ['x'], intervalMs: 1000, timeoutMs: 2e9 }, critical);
    checks.add('t', { ttlMs: 5000 }, critical);
    checks.add('a', { aliasService: 'web' }, critical);
    await clock.advance(2000);
    let stopped = false;
    void checks.stop().then(() => {
      stopped = true;
    });
    await clock.advance(0);
    expect([stopped, clock.pendingTimers]).toEqual([true, 0]);
  });

  test('stop does not wait for a run that does not end', async () => {
    checks = create({ processRunner: { run: () => new Promise<never>(() => undefined) } });
    checks.add('s', { scriptArgs: ['x'], intervalMs: 1000 }, critical);
    await clock.advance(2000);
    let stopped = false;
    void checks.stop().then(() => {
      stopped = true;
    });
    await clock.advance(1_499);
    expect(stopped).toBe(false);
    await clock.advance(1);
    expect([stopped, clock.pendingTimers]).toEqual([true, 0]);
  });

  test('no more runs of a type at a time than its limit', async () => {
    checks = create({ options: { runsMax: 4 } });
    programs.plan = () => ({ durationMs: 2000 });
    for (let i = 0; i < 20; i++) checks.add(`c${i}`, { scriptArgs: [`${i}`], intervalMs: 1000 }, critical);
    await clock.advance(1000);
    expect(programs.starts).toHaveLength(4);
    await clock.advance(9000);
    expect(new Set(programs.starts.map(({ argv }) => argv[0])).size).toBe(20);
  });
});

describe('a script check', () => {
  const add = (more = {}): void => checks.add('s', { scriptArgs: ['x'], intervalMs: 1000, ...more }, critical);

  test.each([
    [{ exitCode: 0, output: bytes('fine\n') }, 's passing: fine\n'],
    [{ exitCode: 1, output: bytes('careful\n') }, 's warning: careful\n'],
    [{ exitCode: 2, output: bytes('broken\n') }, 's critical: broken\n'],
    [{ exitCode: null, signal: 'SIGKILL' }, 's critical: '],
    [{ exitCode: 0, output: bytes('6789'), outputBytesTotal: 10 }, 's passing: Captured 4 of 10 bytes\n...\n6789'],
    [
      { exitCode: null, startError: 'fork/exec /x: no such file or directory' },
      's critical: fork/exec /x: no such file or directory',
    ],
  ])('%j', async (result, status) => {
    programs.plan = () => result;
    add();
    await clock.advance(1000);
    expect(statuses[0]).toBe(status);
  });

  test('a timeout is told at once, and the next run waits for the end of the process', async () => {
    programs.plan = () => ({ durationMs: 5000, output: bytes('begin\n') });
    add({ timeoutMs: 500 });
    await clock.advanceUntil(() => statuses.length > 0, 10_000);
    const [startMs = 0] = atMs();
    expect(clock.monotonicMs()).toBeCloseTo(startMs + 500, 6);
    expect(statuses).toEqual(['s critical: Timed out (500ms) running check\n\nbegin\n']);
    await clock.advance(10_000);
    expect(atMs()[1]).toBeCloseTo(startMs + 5000 + 1000, 6);
  });

  test('timeouts and start failures pass by the thresholds, exit codes do not', async () => {
    programs.plan = (run) =>
      run === 3 ? { startError: 'fork/exec x: permission denied' } : { exitCode: run === 2 ? 2 : 0 };
    add({ failuresBeforeCritical: 3 });
    await clock.advanceUntil(() => programs.starts.length === 4, 10_000);
    expect(statuses).toEqual(['s passing: ', 's critical: fork/exec x: permission denied', 's passing: ']);
    expect(lines).toContainEqual({
      level: 'warn',
      message: 'Check failed but has not reached failure threshold',
      fields: { check: 's', status: 'critical', failure_count: 1, failure_threshold: 3 },
    });
  });

  test('discarded output: the status alone', async () => {
    checks = create({ options: { discardOutput: true } });
    programs.plan = () => ({ output: bytes('fine') });
    add();
    await clock.advance(1000);
    expect(statuses[0]).toBe('s passing: ');
  });
});

describe('a docker check', () => {
  const add = (containerId: string, more = {}): void =>
    checks.add('d', { dockerContainerId: containerId, scriptArgs: ['probe'], intervalMs: 1000, ...more }, critical);

  test.each([
    [{ exitCode: 0, output: 'ok' }, 'd passing: ok'],
    [{ exitCode: 1, output: 'hm' }, 'd warning: hm'],
    [{ exitCode: 126 }, 'd critical: '],
    [{ durationMs: 60_000, output: 'begin' }, 'd critical: Timed out (2s) running check\n\nbegin'],
    [{ output: '0123456789' }, 'd passing: Captured 4 of 10 bytes\n...\n6789'],
  ])('%j', async (result, status) => {
    engine.onExec = () => result;
    add(engine.run({ name: 'web' }), { timeoutMs: 2000, outputMaxSize: status.includes('Captured') ? 4 : 4096 });
    await clock.advanceUntil(() => statuses.length > 0, 10_000);
    expect(statuses[0]).toBe(status);
  });

  test('has a timeout of 30 s when it names none', async () => {
    let asked = 0;
    engine.onExec = (_id, { timeoutMs }) => {
      asked = timeoutMs;
      return {};
    };
    add(engine.run({ name: 'web' }));
    await clock.advance(1000);
    expect(asked).toBe(30_000);
  });

  test('is critical with the reason while the engine is away, the container paused or gone, or nothing is configured', async () => {
    const id = engine.run({ name: 'web' });
    add(id);
    const next = async (): Promise<string | undefined> => {
      const before = statuses.length;
      await clock.advanceUntil(() => statuses.length > before, 10_000);
      return statuses.at(-1);
    };
    expect(await next()).toBe('d passing: ');
    engine.pause(id);
    expect(await next()).toContain('paused');
    engine.down();
    expect(await next()).toContain('ECONNREFUSED');
    engine.up();
    engine.remove(id);
    expect(await next()).toContain('No such container');
    checks.remove('d');
    checks = create({ docker: () => undefined });
    add(id);
    expect(await next()).toBe('d critical: no Docker engine is configured on this agent; set DOCKER_HOST');
  });
});

describe('a TTL check', () => {
  test('expires after its TTL without a report, and every report starts it anew', async () => {
    checks.add('t', { ttlMs: 1500 }, critical);
    clock.advanceSync(1000);
    checks.updateTtl('t', 'passing', 'last words');
    clock.advanceSync(1499);
    expect(statuses).toEqual(['t passing: last words']);
    clock.advanceSync(1);
    expect(statuses[1]).toBe('t critical: TTL expired (last output before timeout follows): last words');
    checks.updateTtl('t', 'passing', 'back');
    clock.advanceSync(1500);
    expect(statuses.slice(2)).toEqual([
      't passing: back',
      't critical: TTL expired (last output before timeout follows): back',
    ]);
  });

  test('without any output it says only that it expired', () => {
    checks.add('t', { ttlMs: 1500 }, critical);
    clock.advanceSync(1500);
    expect(statuses).toEqual(['t critical: TTL expired']);
  });

  test('registering it again does not start the timer anew', () => {
    checks.add('t', { ttlMs: 1500 }, critical);
    clock.advanceSync(1000);
    checks.add('t', { ttlMs: 1500 }, { status: 'passing', output: '' });
    clock.advanceSync(500);
    expect(statuses).toEqual(['t critical: TTL expired']);
  });

  test('has no thresholds, and cuts its output at the beginning', () => {
    checks.add('t', { ttlMs: 1500, failuresBeforeCritical: 3, outputMaxSize: 10 }, critical);
    checks.updateTtl('t', 'critical', '0123456789abcdef');
    expect(statuses).toEqual(['t critical: 0123456789 ... (captured 10 of 16 bytes)']);
  });

  test('comes back with the time it had left, never more than its TTL', () => {
    checks.add('t', { ttlMs: 10_000 }, critical);
    const expiresAt = checks.ttlExpiresAt('t')!;
    expect(expiresAt).toBe(clock.wallMs() + 10_000);
    clock.advanceSync(4000);
    const restored = create();
    restored.add('t', { ttlMs: 10_000 }, { status: 'passing', output: 'fine', ttlExpiresAtMs: expiresAt });
    restored.add('far', { ttlMs: 10_000 }, { ...critical, ttlExpiresAtMs: expiresAt + 1e9 });
    restored.add('past', { ttlMs: 10_000 }, { ...critical, ttlExpiresAtMs: expiresAt - 1e9 });
    void checks.stop();
    clock.advanceSync(6000);
    expect(statuses).toEqual(['t critical: TTL expired (last output before timeout follows): fine']);
    clock.advanceSync(4000);
    expect(statuses.slice(1)).toEqual(['far critical: TTL expired', 'past critical: TTL expired']);
  });

  test('only TTL checks take reports', () => {
    checks.add('s', { scriptArgs: ['x'], intervalMs: 1000 }, critical);
    for (const id of ['s', 'nobody']) {
      expect(() => checks.updateTtl(id, 'passing', '')).toThrow(`CheckID "${id}" does not have associated TTL`);
    }
    expect(checks.ttlExpiresAt('s')).toBeUndefined();
  });
});
