import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { requestOverHttp } from '../../../src/node/environment-probes.ts';
import { TestAuthority } from '../../helpers/certificates.ts';

const authority = new TestAuthority();
const { cert, key } = authority.issue('localhost');
const server = createServer({ cert, key }, (_, response) => response.writeHead(203).end('hello'));
afterEach(() => server.close());

test('a server is believed when its certificate comes from the authority that was named', async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `https://localhost:${(server.address() as AddressInfo).port}/`;
  const ask = (ca?: string) =>
    requestOverHttp({ method: 'GET', url, headers: {}, signal: AbortSignal.timeout(5_000), ...(ca && { ca }) });
  expect(await ask(authority.cert)).toMatchObject({
    status: 203,
    statusText: 'Non-Authoritative Information',
    body: 'hello',
  });
  await expect(ask(new TestAuthority('another').cert)).rejects.toThrow();
  await expect(ask()).rejects.toThrow();
});
