import { beforeEach, describe, expect, test } from 'vitest';
import type { EngineEvent } from '../../../src/ports/index.ts';
import { FakeEngine, replayBufferEvents } from '../../../src/sim/fake-engine.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';

let clock: VirtualClock;
let engine: FakeEngine;

beforeEach(() => {
  clock = new VirtualClock();
  engine = new FakeEngine({ clock });
});

interface Feed {
  readonly events: EngineEvent[];
  readonly actions: string[];
  readonly ended: { reason?: unknown; well?: boolean };
  readonly abort: AbortController;
}

function subscribe(options: { since?: string; types?: string[]; events?: string[] } = {}): Feed {
  const feed: Feed = { events: [], actions: [], ended: {}, abort: new AbortController() };
  const { types = [], events = [], ...rest } = options;
  engine
    .events(
      { types, events, ...rest },
      {
        onOpen: () => undefined,
        onEvent: (event) => {
          feed.events.push(event);
          feed.actions.push(event.Action);
        },
      },
      feed.abort.signal,
    )
    .then(
      () => {
        feed.ended.well = true;
      },
      (error: unknown) => {
        feed.ended.reason = error;
      },
    );
  return feed;
}

const cursor = (timeNano: string): string => `${timeNano.slice(0, -9)}.${timeNano.slice(-9)}`;

describe('events', () => {
  test('come in the order of a real engine', async () => {
    const feed = subscribe();
    await clock.advance(0);
    const id = engine.run({ name: 'web' });
    engine.stop(id);
    engine.remove(id);
    await clock.advance(0);
    expect(feed.actions).toEqual(['create', 'connect', 'start', 'kill', 'die', 'disconnect', 'stop', 'destroy']);
    expect(feed.events.map(({ timeNano }) => timeNano)).toEqual(feed.events.map(({ timeNano }) => timeNano).toSorted());
  });

  test('are filtered by type and by the word before the colon', async () => {
    const feed = subscribe({ types: ['container'], events: ['start', 'health_status'] });
    await clock.advance(0);
    const id = engine.run({ name: 'web', healthcheck: { Test: ['CMD', 'true'] } });
    engine.setHealth(id, 'healthy');
    engine.setHealth(id, 'healthy');
    await clock.advance(0);
    expect(feed.actions).toEqual(['start', 'health_status: healthy']);
  });

  test('since replays from its exact time on, and then goes on live', async () => {
    const first = subscribe();
    await clock.advance(0);
    const id = engine.run({ name: 'web' });
    await clock.advance(0);
    const last = first.events.at(-1)!;
    const from = subscribe({ since: cursor(last.timeNano) });
    const after = subscribe({ since: cursor(String(BigInt(last.timeNano) + 1n)) });
    await clock.advance(0);
    engine.pause(id);
    await clock.advance(0);
    expect(from.actions).toEqual(['start', 'pause']);
    expect(after.actions).toEqual(['pause']);
  });

  test('exec noise pushes a die out of the replay buffer, the list still tells', async () => {
    const noisy = engine.run({ name: 'noisy' });
    const gone = engine.run({ name: 'gone' });
    engine.die(gone);
    engine.execNoise(noisy, Math.ceil(replayBufferEvents / 3));
    const feed = subscribe({ since: '0' });
    await clock.advance(0);
    expect(feed.actions).not.toContain('die');
    expect((await engine.listContainers({ all: false })).map(({ Id }) => Id)).toEqual([noisy]);
  });

  test('a bad since is answered with 500, as on a real engine', async () => {
    const feed = subscribe({ since: '10m' });
    await clock.advance(0);
    expect(feed.ended.reason).toMatchObject({ statusCode: 500 });
  });
});

describe('failures', () => {
  test('a daemon that is away breaks streams and refuses requests, a new process has forgotten its events', async () => {
    const id = engine.run({ name: 'web' });
    const feed = subscribe();
    await clock.advance(0);
    engine.down();
    engine.silently(() => engine.die(id));
    await clock.advance(0);
    expect(feed.ended.reason).toMatchObject({ name: 'EngineError', statusCode: undefined });
    await expect(engine.listContainers({ all: true })).rejects.toMatchObject({ statusCode: undefined });
    engine.up();
    const again = subscribe({ since: '0' });
    await clock.advance(0);
    expect(again.actions).toEqual([]);
    expect(await engine.listContainers({ all: false })).toEqual([]);
  });

  test('a request takes its latency by the clock and can be aborted', async () => {
    engine.latencyMs = 100;
    const at: number[] = [];
    void engine.info().then(() => at.push(clock.monotonicMs()));
    const abort = new AbortController();
    const aborted = engine.info(abort.signal).catch((error: unknown) => error);
    abort.abort(new Error('no longer wanted'));
    await clock.advance(200);
    expect(at).toEqual([100]);
    expect(await aborted).toMatchObject({ message: 'no longer wanted' });
  });

  test('a stream may break, or end in good order', async () => {
    const [broken, ended] = [subscribe(), subscribe()];
    await clock.advance(0);
    expect(engine.subscribers).toBe(2);
    broken.abort.abort(new Error('no longer wanted'));
    engine.endStreams();
    await clock.advance(0);
    expect(broken.ended.reason).toMatchObject({ message: 'no longer wanted' });
    expect(ended.ended.well).toBe(true);
    expect(engine.subscribers).toBe(0);
  });

  test('failNext fails one request', async () => {
    engine.failNext('list');
    await expect(engine.listContainers({ all: true })).rejects.toMatchObject({ statusCode: 500 });
    expect(await engine.listContainers({ all: true })).toEqual([]);
    expect(engine.requestCount('list')).toBe(2);
  });
});

describe('inspect', () => {
  test('a wildcard publish shows both families, unpublished is null, stopped is empty', () => {
    const id = engine.run({ name: 'web', exposed: ['443/tcp'], published: { '80/tcp': [{ HostPort: '8080' }] } });
    expect(engine.inspectNow(id).NetworkSettings?.Ports).toEqual({
      '443/tcp': null,
      '80/tcp': [
        { HostIp: '0.0.0.0', HostPort: '8080' },
        { HostIp: '::', HostPort: '8080' },
      ],
    });
    engine.stop(id);
    expect(engine.inspectNow(id).NetworkSettings?.Ports).toEqual({});
    expect(engine.inspectNow(id).State).toMatchObject({ Status: 'exited', Running: false, ExitCode: 143 });
  });

  test('an unknown container is 404; --rm removes at the end', async () => {
    const id = engine.run({ name: 'once', autoRemove: true });
    engine.die(id);
    await expect(engine.inspectContainer(id)).rejects.toMatchObject({ statusCode: 404 });
    await expect(engine.inspectContainer('nobody')).rejects.toMatchObject({ statusCode: 404 });
  });
});

describe('exec', () => {
  test('gives the handler’s result, cut to its end', async () => {
    const id = engine.run({ name: 'web' });
    engine.onExec = () => ({ exitCode: 1, output: '0123456789' });
    const result = await engine.exec(id, { argv: ['x'], timeoutMs: 1000, outputBytesMax: 4 });
    expect(Buffer.from(result.output).toString()).toBe('6789');
    expect(result).toMatchObject({ exitCode: 1, outputBytesTotal: 10, timedOut: false });
  });

  test('times out by the clock, and is refused on a paused container', async () => {
    const id = engine.run({ name: 'web' });
    engine.onExec = () => ({ durationMs: 60_000 });
    const running = engine.exec(id, { argv: ['x'], timeoutMs: 1000, outputBytesMax: 4 });
    await clock.advance(1000);
    expect(await running).toMatchObject({ exitCode: null, timedOut: true, ended: { gone: true } });
    engine.pause(id);
    await expect(engine.exec(id, { argv: ['x'], timeoutMs: 1, outputBytesMax: 4 })).rejects.toMatchObject({
      statusCode: 409,
    });
  });
});
