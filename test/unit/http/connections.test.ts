// Connections of clients that are slow, greedy or in a hurry.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { pipelinedMax } from '../../../src/http/pipelining.ts';
import { waitUntil } from '../../helpers/wait.ts';
import { type Harness, start, stopAll } from './harness.ts';

const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await stopAll();
});

function open({ port }: Harness): { readonly socket: Socket; readonly read: () => string } {
  const socket = connect(port, '127.0.0.1');
  sockets.push(socket);
  let text = '';
  socket.on('data', (chunk) => (text += chunk.toString()));
  socket.on('error', () => undefined);
  return { socket, read: () => text };
}

describe('pipelined requests', () => {
  /** Replies that wait, in the order of the calls. */
  async function blocked(): Promise<{ readonly harness: Harness; readonly waiting: ((leader: string) => void)[] }> {
    const waiting: ((leader: string) => void)[] = [];
    const harness = await start({ 'Status.Leader': () => new Promise((resolve) => waiting.push(resolve)) });
    return { harness, waiting };
  }
  const ask = 'GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n';

  test('are served one after the other, in order', async () => {
    const { harness, waiting } = await blocked();
    const { socket, read } = open(harness);
    socket.write(ask.repeat(3));
    for (let turn = 1; turn <= 3; turn++) {
      await waitUntil(
        () => `request ${turn}`,
        () => waiting.length === turn,
      );
      await new Promise((resolve) => setImmediate(resolve));
      expect(harness.calls).toHaveLength(turn);
      waiting[turn - 1]!(`leader ${turn}`);
    }
    await waitUntil(
      () => read(),
      () => read().includes('leader 3'),
    );
    expect([...read().matchAll(/leader (\d)/g)].map(([, turn]) => turn)).toEqual(['1', '2', '3']);
  });

  test.each([
    [pipelinedMax + 1, false],
    [pipelinedMax + 2, true],
  ])('%d in one go: closed is %j', async (count, isClosed) => {
    const { harness, waiting } = await blocked();
    const { socket } = open(harness);
    const closed = once(socket, 'close');
    socket.write(ask.repeat(count));
    await waitUntil(
      () => 'the first request',
      () => waiting.length === 1,
    );
    if (isClosed) await closed;
    waiting[0]!('one');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(socket.closed).toBe(isClosed);
    expect(harness.calls).toHaveLength(isClosed ? 1 : 2);
  });

  test('with bodies go on after a wait', async () => {
    const { harness, waiting } = await blocked();
    const { socket, read } = open(harness);
    const body = 'x'.repeat(300_000);
    socket.write(ask);
    socket.write(`PUT /v1/status/leader HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    socket.write(ask);
    await waitUntil(
      () => 'the first request',
      () => waiting.length === 1,
    );
    waiting[0]!('one');
    await waitUntil(
      () => 'the last request',
      () => waiting.length === 2,
    );
    waiting[1]!('two');
    await waitUntil(
      () => read(),
      () => read().includes('two'),
    );
    expect(read()).toContain('405 Method Not Allowed');
  });

  test('of a client that has closed its half behind them are all answered', async () => {
    const harness = await start({
      // Later than the end of what the client says.
      'Status.Leader': () => new Promise((resolve) => setTimeout(resolve, 5, `leader ${harness.calls.length}`)),
    });
    const { socket, read } = open(harness);
    const closed = once(socket, 'close');
    socket.end(ask.repeat(5));
    await closed;
    expect([...read().matchAll(/leader (\d)/g)].map(([, turn]) => turn)).toEqual(['1', '2', '3', '4', '5']);
  });

  test('that would block end the connection when the client has closed its half', async () => {
    let waiting = 0;
    const harness = await start({
      'Status.Leader': () => 'one',
      'Catalog.ListNodes': (_request, signal) =>
        new Promise((_, reject) => {
          waiting++;
          const give = (): void => reject(signal!.reason as Error);
          if (signal!.aborted) give();
          else signal!.addEventListener('abort', give);
        }),
    });
    const { socket, read } = open(harness);
    const closed = once(socket, 'close');
    socket.end(`${ask}GET /v1/catalog/nodes?index=1 HTTP/1.1\r\nHost: x\r\n\r\n${ask}`);
    await closed;
    expect(read().match(/HTTP\/1\.1 200/g)).toHaveLength(1);
    expect(waiting).toBe(1);
  });
});

test('headers without end are refused with 431 and the connection is closed', async () => {
  const { socket, read } = open(await start());
  const ended = once(socket, 'end');
  socket.write('GET /v1/status/leader HTTP/1.1\r\n');
  socket.write(`X-Long: ${'x'.repeat(1_100_000)}\r\n\r\n`);
  await ended;
  expect(read()).toMatch(/^HTTP\/1\.1 431 Request Header Fields Too Large\r\n/);
  expect(read()).toMatch(/\r\n\r\n431 Request Header Fields Too Large$/);
});

test('a client with too many connections has the newest closed, also after others were closed', async () => {
  const harness = await start({ 'Status.Leader': () => '' }, { maxConnsPerClient: 2 });
  const [first, second] = [open(harness), open(harness)];
  await Promise.all([once(first.socket, 'connect'), once(second.socket, 'connect')]);
  const third = open(harness);
  await once(third.socket, 'close');
  expect(third.read()).toBe('');
  first.socket.destroy();
  await waitUntil(
    () => 'a free place',
    async () => (await harness.get('/v1/status/leader').catch(() => undefined))?.status === 200,
  );
});
