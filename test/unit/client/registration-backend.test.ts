// The registrator's backend over HTTP against a small fake agent: requests as in reference/registrator.md §3, answers
// as a Consul 1.8 agent gives them, and what becomes of refusals and lost connections.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AgentClient, createHttpBackend, resolveClientOptions } from '../../../src/client/index.ts';
import { SystemClock } from '../../../src/node/system-clock.ts';
import type { RegistrationBackend } from '../../../src/registrator/index.ts';

let server: Server;
let client: AgentClient;
let backend: RegistrationBackend;
let seen: { method: string; url: string; body: string }[];
let answer: (url: string) => { status?: number; body?: string; hangUp?: boolean };

beforeEach(async () => {
  seen = [];
  answer = () => ({});
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const url = request.url ?? '';
      seen.push({ method: request.method ?? '', url, body });
      const { status = 200, body: text = '', hangUp = false } = answer(url);
      if (hangUp) {
        request.socket.destroy();
        return;
      }
      response.statusCode = status;
      response.end(text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const httpAddr = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  client = new AgentClient(resolveClientOptions({}, { httpAddr }), new SystemClock());
  backend = createHttpBackend(client);
});

afterEach(() => {
  client.close();
  server.closeAllConnections();
  server.close();
});

describe('the registrator backend over HTTP', () => {
  test('list joins services and their checks; maintenance is no check of ours', async () => {
    const services = {
      'h:w:80': { ID: 'h:w:80', Service: 'web', Tags: ['a'], Meta: { k: 'v' }, Port: 8080, Address: '10.0.0.1' },
      bare: { ID: 'bare', Service: 'bare', Tags: null, Meta: null, Port: 0, Address: '' },
    };
    const check = (CheckID: string, ServiceID: string, Status: string): object => ({
      CheckID,
      ServiceID,
      Status,
      Output: 'o',
      Type: 'ttl',
    });
    const checks = {
      a: check('service:h:w:80', 'h:w:80', 'passing'),
      b: check('_service_maintenance:h:w:80', 'h:w:80', 'critical'),
      c: check('node', '', 'passing'),
    };
    answer = (url) => ({ body: JSON.stringify(url === '/v1/agent/services' ? services : checks) });
    const held = await backend.list();
    expect(held.get('h:w:80')).toEqual({
      id: 'h:w:80',
      name: 'web',
      address: '10.0.0.1',
      port: 8080,
      tags: ['a'],
      meta: { k: 'v' },
      checks: new Map([['service:h:w:80', { status: 'passing', output: 'o', type: 'ttl' }]]),
    });
    expect(held.get('bare')).toMatchObject({ tags: [], meta: {} });
  });

  test('register replaces the checks and writes durations as Go does', async () => {
    await backend.register({
      id: 'x',
      name: 'web',
      port: 80,
      checks: [{ id: 'service:x', tcp: '1.1.1.1:80', intervalMs: 10_000 }],
    });
    expect(seen[0]).toMatchObject({ method: 'PUT', url: '/v1/agent/service/register?replace-existing-checks=true' });
    expect(JSON.parse(seen[0]!.body)).toEqual({
      ID: 'x',
      Name: 'web',
      Port: 80,
      Checks: [{ CheckID: 'service:x', TCP: '1.1.1.1:80', Interval: '10s' }],
    });
  });

  test('the other requests', async () => {
    await backend.deregister('h:w/x:80');
    await backend.setCheckStatus('service:x:health', 'passing', 'all good');
    expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'PUT /v1/agent/service/deregister/h:w/x:80',
      'PUT /v1/agent/check/update/service:x:health',
    ]);
    expect(JSON.parse(seen[1]!.body)).toEqual({ Status: 'passing', Output: 'all good' });
  });

  test('a refusal carries its status and the text of the agent', async () => {
    answer = () => ({ status: 500, body: 'Scripts are disabled on this agent from remote calls' });
    await expect(backend.register({ name: 'x' })).rejects.toMatchObject({
      statusCode: 500,
      message: 'Scripts are disabled on this agent from remote calls',
    });
    expect(seen).toHaveLength(1);
  });

  test("a proxy's 502 is no refusal: the agent is away", async () => {
    answer = () => ({ status: 502, body: 'bad gateway' });
    await expect(backend.deregister('x')).rejects.not.toHaveProperty('statusCode');
  });

  test('a request that dies with its connection is sent once more', async () => {
    let calls = 0;
    answer = () => ({ hangUp: ++calls === 1 });
    await backend.deregister('x');
    expect(seen).toHaveLength(2);
    answer = () => ({ hangUp: true });
    await expect(backend.deregister('x')).rejects.toThrow('EOF');
    expect(seen).toHaveLength(4);
  });

  test('an abort ends a request', async () => {
    const controller = new AbortController();
    answer = () => {
      controller.abort();
      return { hangUp: true };
    };
    await expect(backend.deregister('x', controller.signal)).rejects.toThrow();
    expect(seen).toHaveLength(1);
  });
});
