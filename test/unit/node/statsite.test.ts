// Lines for a statsite: they arrive over TCP, also after the connection was lost.
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { openStatsiteSocket } from '../../../src/node/metrics-statsd.ts';

test('lines arrive, and again after the connection was lost', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const statsite = openStatsiteSocket(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  const next = async (): Promise<Socket> => ((await once(server, 'connection')) as [Socket])[0];
  const first = next();
  statsite.send('a:1|c\n');
  const socket = await first;
  expect(String((await once(socket, 'data'))[0])).toBe('a:1|c\n');
  const second = next();
  socket.destroy();
  const again = setInterval(() => statsite.send('b:1|c\n'), 10);
  expect(String((await once(await second, 'data'))[0])).toContain('b:1|c\n');
  clearInterval(again);
  statsite.close();
  server.close();
});
