// The order of steps around a command that must be ended, against a scripted engine; whether the ways really end it is
// proved on a real one in test/engine/docker-check.test.ts.
import { PassThrough } from 'node:stream';
import * as fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { DockerExec } from '../../../src/node/docker-exec.ts';
import type { EngineRequest, EngineTransport } from '../../../src/node/dockerode-engine.ts';
import { EngineError } from '../../../src/ports/index.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { recordingLogger, recordingMetrics } from '../checks/support.ts';

interface Inspected {
  readonly Running: boolean;
  readonly ExitCode: number | null;
  readonly Pid: number;
}

const running: Inspected = { Running: true, ExitCode: null, Pid: 77 };
const gone: Inspected = { Running: false, ExitCode: 137, Pid: 77 };

let clock: VirtualClock;
let steps: string[];
let counters: Map<string, number>;
let exec: DockerExec;
/** Answers to inspect of the command, the last one stays. */
let inspects: Inspected[];
/** The exit code of the killing shell, or the status with which its creation is refused. */
let killer: { exitCode?: number; refused?: number };
let streams: PassThrough[];

const frame = (stream: number, text: string): Buffer => {
  const payload = Buffer.from(text);
  const header = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(payload.length, 4);
  return Buffer.concat([header, payload]);
};

beforeEach(() => {
  clock = new VirtualClock({ drain: () => new Promise((resolve) => void setImmediate(resolve)) });
  steps = [];
  inspects = [running];
  killer = { exitCode: 0 };
  streams = [];
  let created = 0;
  const kills = new Set<string>();
  const transport: EngineTransport = {
    request: async ({ method, path, body }: EngineRequest) => {
      if (method === 'HEAD') return undefined;
      if (path.endsWith('/exec')) {
        const { Cmd, Env } = body as { Cmd: string[]; Env: string[] };
        const kills9 = Cmd[0] === '/bin/sh';
        steps.push(kills9 ? 'kill' : 'create');
        if (!kills9) expect(Env.at(-1)).toMatch(/^PORTOLAN_EXEC=[0-9a-f-]{36}$/);
        else if (killer.refused !== undefined) throw new EngineError('is paused', killer.refused);
        const Id = `exec${++created}`;
        if (kills9) kills.add(Id);
        return { Id };
      }
      const id = path.split('/')[2]!;
      if (kills.has(id)) return { Running: false, ExitCode: killer.exitCode, Pid: 1 };
      const [next, ...rest] = inspects;
      if (rest.length > 0) inspects = rest;
      steps.push(`inspect ${next!.Running ? 'running' : 'gone'} ${next!.Pid}`);
      return next;
    },
    stream: async ({ path }: EngineRequest) => {
      const stream = new PassThrough();
      streams.push(stream);
      if (kills.has(path.split('/')[2]!)) stream.end();
      return stream;
    },
  };
  const metrics = recordingMetrics();
  counters = metrics.counters;
  exec = new DockerExec({
    transport,
    clock,
    random: new SeededRandom(1),
    logger: recordingLogger().logger,
    metrics: metrics.metrics,
    procPath: '/nonexistent',
  });
});

const options = { argv: ['probe'], timeoutMs: 1000, outputBytesMax: 4096 };

describe('a command at its timeout', () => {
  test('that the engine has not begun yet is killed only once it has', async () => {
    inspects = [{ ...running, Pid: 0 }, { Running: false, ExitCode: null, Pid: 0 }, running, gone];
    const result = exec.run('web', options);
    await clock.advance(5000);
    expect(await result).toMatchObject({ timedOut: true, ended: { gone: true } });
    expect(steps).toEqual([
      'create',
      'inspect running 0',
      'inspect gone 0',
      'inspect running 77',
      'kill',
      'inspect gone 77',
    ]);
  });

  test('that still runs after the kill is said not to be gone, and counted', async () => {
    const result = exec.run('web', options);
    await clock.advance(10_000);
    expect(await result).toMatchObject({ exitCode: null, timedOut: true, ended: { gone: false } });
    expect(counters.get('docker.exec.orphan')).toBe(1);
  });

  test('that could not be ended is ended before the next run in that container, and only once', async () => {
    killer = { refused: 409 };
    const first = exec.run('web', options);
    await clock.advance(10_000);
    expect((await first).ended).toMatchObject({ gone: false, by: expect.stringContaining('paused or stopped') });
    killer = { exitCode: 0 };
    inspects = [{ Running: false, ExitCode: 0, Pid: 78 }];
    for (const expected of [['kill', 'create'], ['create']]) {
      steps.length = 0;
      const next = exec.run('web', options);
      while (!steps.includes('create')) await clock.advance(0);
      await clock.advance(0);
      streams.at(-1)!.end();
      expect(await next).toMatchObject({ exitCode: 0 });
      expect(steps.slice(0, expected.length)).toEqual(expected);
    }
  });
});

test('stdout and stderr are both in the output, however the frames are cut', async () => {
  const all = Buffer.concat([frame(1, 'out '), frame(2, 'err '), frame(1, ''), frame(1, 'x'.repeat(300))]);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(all.length), { maxLength: 12 }), async (cuts) => {
      inspects = [{ Running: false, ExitCode: 1, Pid: 5 }];
      const before = streams.length;
      const result = exec.run('web', options);
      while (streams.length === before) await clock.advance(0);
      const bounds = [0, ...cuts.toSorted((a, b) => a - b), all.length];
      for (const [index, end] of bounds.slice(1).entries()) streams.at(-1)!.write(all.subarray(bounds[index], end));
      streams.at(-1)!.end();
      const { output, outputBytesTotal, exitCode } = await result;
      expect([Buffer.from(output).toString(), outputBytesTotal, exitCode]).toEqual([
        `out err ${'x'.repeat(300)}`,
        308,
        1,
      ]);
    }),
    { numRuns: 30 },
  );
});
