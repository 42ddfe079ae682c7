// The engine port on a real engine: documents, events, replay, and what a daemon that dies does.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineError, type EngineEvent } from '../../src/ports/index.ts';
import { waitUntil } from '../helpers/wait.ts';
import { engineSkipReason, startEngine, type TestEngine } from './support/dockerd.ts';
import { realEngine, type RealEngine } from './support/real-engine.ts';

const skipped = engineSkipReason({ own: true });

interface Feed {
  readonly events: EngineEvent[];
  readonly actions: () => string[];
  readonly open: Promise<void>;
  readonly ended: Promise<unknown>;
  readonly abort: AbortController;
}

function subscribe(
  { engine }: RealEngine,
  options: { since?: string; types?: string[]; events?: string[] } = {},
): Feed {
  const abort = new AbortController();
  const events: EngineEvent[] = [];
  const { types = ['container'], events: wanted = [], ...rest } = options;
  let onOpen = (): void => undefined;
  const open = new Promise<void>((resolve) => {
    onOpen = resolve;
  });
  const handlers = { onOpen: () => onOpen(), onEvent: (event: EngineEvent) => void events.push(event) };
  const ended = engine.events({ types, events: wanted, ...rest }, handlers, abort.signal).then(
    () => undefined,
    (error: unknown) => error,
  );
  return { events, actions: () => events.map(({ Action }) => Action), open, ended, abort };
}

const cursor = (timeNano: string): string => `${timeNano.slice(0, -9)}.${timeNano.slice(-9)}`;

describe.skipIf(skipped !== undefined)('the engine port', () => {
  let docker: TestEngine;
  let real: RealEngine;

  beforeAll(async () => {
    docker = await startEngine({ own: true, liveRestore: true });
    real = realEngine(docker.host);
  });

  afterAll(async () => {
    await docker?.close();
  });

  test('reads version, info, list and inspect', async () => {
    const id = await docker.run('--name', 'documents', '-p', '8080:80', '-l', 'a=b', 'acme/two');
    expect((await real.engine.version()).ApiVersion).toMatch(/^1\.\d+$/);
    expect((await real.engine.info()).ID).not.toBe('');
    const listed = (await real.engine.listContainers({ all: false })).find(({ Id }) => Id === id);
    expect(listed).toMatchObject({ Names: ['/documents'], State: 'running', Labels: { a: 'b' } });
    const inspected = await real.engine.inspectContainer('documents');
    expect(inspected).toMatchObject({ Id: id, State: { Running: true }, Config: { Labels: { a: 'b' } } });
    expect(inspected.NetworkSettings?.Ports).toEqual({
      '443/tcp': null,
      '80/tcp': expect.arrayContaining([{ HostIp: '0.0.0.0', HostPort: '8080' }]),
    });
    expect((await real.engine.inspectImage(inspected.Image!)).RepoTags).toEqual(['acme/two:latest']);
    await expect(real.engine.inspectContainer('nobody')).rejects.toMatchObject({ statusCode: 404 });
  });

  test('gives events in order, filtered, and replays from an exact time', async () => {
    const feed = subscribe(real, { events: ['start', 'kill', 'die', 'pause', 'health_status'] });
    await feed.open;
    const id = await docker.run('--name', 'eventful', 'acme/health');
    await docker.docker('pause', id);
    await docker.docker('unpause', id);
    await waitUntil('the health event', () => feed.actions().includes('health_status: healthy'));
    await docker.docker('kill', id);
    await waitUntil('the die event', () => feed.actions().includes('die'));
    expect(feed.actions().filter((action) => !action.startsWith('health'))).toEqual(['start', 'pause', 'kill', 'die']);
    for (const event of feed.events) expect(event.timeNano).toMatch(/^\d{19}$/);
    const die = feed.events.at(-1)!;
    const from = subscribe(real, { since: cursor(die.timeNano), events: ['kill', 'die'] });
    const after = subscribe(real, { since: cursor(String(BigInt(die.timeNano) + 1n)), events: ['kill', 'die'] });
    await waitUntil('the replay', () => from.events.length > 0);
    await after.open;
    expect(from.events).toEqual([die]);
    expect(after.events).toEqual([]);
    for (const { abort } of [feed, from, after]) abort.abort(new Error('done'));
    expect(await feed.ended).toMatchObject({ message: 'done' });
  });

  test('400 execs push a die out of the replay buffer; subscribing and then listing still finds it', async () => {
    const noisy = await docker.run('--name', 'noisy', 'acme/plain');
    const gone = await docker.run('--name', 'gone', 'acme/plain');
    const feed = subscribe(real);
    await feed.open;
    const before = await real.engine.listContainers({ all: false });
    expect(before.map(({ Id }) => Id)).toContain(gone);
    await docker.docker('pause', noisy);
    const last = (await waitUntil('an event', () => feed.events.at(-1))).timeNano;
    await docker.docker('unpause', noisy);
    // The break: nobody listens.
    feed.abort.abort(new Error('break'));
    await docker.docker('kill', gone);
    // An exec that is created and not started emits its first event already, and takes no process.
    const path = `/containers/${noisy}/exec`;
    const create = { method: 'POST', path, body: { Cmd: ['true'] }, success: [201] } as const;
    for (let done = 0; done < 400; done++) await real.engine.request(create);
    const again = subscribe(real, { since: cursor(last) });
    await again.open;
    const after = await real.engine.listContainers({ all: false });
    await waitUntil('the replay', () => again.events.length > 200);
    expect(again.actions()).not.toContain('die');
    expect(after.map(({ Id }) => Id)).not.toContain(gone);
    expect(after.map(({ Id }) => Id)).toContain(noisy);
    again.abort.abort(new Error('done'));
  });

  test('a daemon that is killed breaks the stream, refuses with advice, and is found again', async () => {
    const id = await docker.run('--name', 'survivor', 'acme/plain');
    const feed = subscribe(real);
    await feed.open;
    await docker.killDaemon();
    expect(await feed.ended).toBeInstanceOf(EngineError);
    await expect(real.engine.info()).rejects.toMatchObject({
      statusCode: undefined,
      message: expect.stringMatching(/refuses connections|no such socket/),
    });
    const refused = real.engine.exec(id, { argv: ['true'], timeoutMs: 1000, outputBytesMax: 10 });
    await expect(refused).rejects.toThrow(/^create exec failed for container [0-9a-f]{64}: /);
    await docker.startDaemon();
    expect((await real.engine.listContainers({ all: false })).map(({ Id }) => Id)).toContain(id);
    expect(await real.engine.exec(id, { argv: ['true'], timeoutMs: 20_000, outputBytesMax: 10 })).toMatchObject({
      exitCode: 0,
    });
  });
});
