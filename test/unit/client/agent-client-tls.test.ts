// The client over TLS: whom it trusts, what it shows, and how it words a refusal.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AgentClient, type ClientFlags, resolveClientOptions } from '../../../src/client/index.ts';
import { SystemClock } from '../../../src/node/system-clock.ts';
import { authority, certificate, key } from './certificates.ts';

const server = createServer(
  { cert: certificate, key, ca: authority, requestCert: true, rejectUnauthorized: false },
  (request, response) => {
    const shown = (request.socket as TLSSocket).getPeerCertificate().subject?.CN ?? 'nobody';
    response.end(JSON.stringify(shown));
  },
);
let dir: string;
let address: string;
const file = (name: string): string => join(dir, name);

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'portolan-tls-'));
  for (const [name, text] of Object.entries({ authority, certificate, key })) writeFileSync(file(name), text);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(dir, { recursive: true });
});

async function ask(flags: ClientFlags, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const options = resolveClientOptions(env, { httpAddr: `https://${address}`, ...flags });
  const client = new AgentClient(options, new SystemClock());
  try {
    return await client.json<string>('GET', '/');
  } finally {
    client.close();
  }
}

describe('over TLS', () => {
  test('a known authority and the expected name are trusted', async () => {
    expect(await ask({ caFile: file('authority'), tlsServerName: 'agent.test' })).toBe('nobody');
    expect(await ask({ httpAddr: address }, { CONSUL_HTTP_SSL: 'true', CONSUL_HTTP_SSL_VERIFY: 'false' })).toBe(
      'nobody',
    );
  });

  test('an unknown authority is not', async () => {
    await expect(ask({})).rejects.toThrow(`Get "https://${address}/": x509: certificate signed by unknown authority`);
  });

  test('another name is not', async () => {
    await expect(ask({ caFile: file('authority') })).rejects.toThrow(/^Get "https:.*": x509: .*127\.0\.0\.1/);
  });

  test('a client certificate is shown', async () => {
    const env = { CONSUL_CACERT: file('authority'), CONSUL_CLIENT_CERT: file('certificate') };
    expect(await ask({ tlsServerName: 'agent.test', clientKey: file('key') }, env)).toBe('agent.test');
  });
});
