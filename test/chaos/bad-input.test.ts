// Bad input from every side: the answer says what is wrong, nothing that was there is lost, the process stays up.
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../src/sim/seeded-random.ts';
import { AgentProcess } from '../helpers/agent-process.ts';
import { seedOr } from '../helpers/settings.ts';

const bundle = resolve(import.meta.dirname, '../../dist/portolan.js');
const directory = mkdtempSync(join(tmpdir(), 'portolan-bad-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function startWith(name: string, text: string): Promise<{ readonly code: number; readonly stderr: string }> {
  const file = join(directory, name);
  writeFileSync(file, text);
  return new Promise((done) => {
    execFile(
      process.execPath,
      [bundle, 'agent', '-dev', '-registrator=false', '-http-port=21554', '-dns-port=-1', '-config-file', file],
      { timeout: 20_000 },
      (error, _stdout, stderr) => done({ code: error === null ? 0 : Number(error.code), stderr }),
    );
  });
}

describe('a configuration that cannot be right ends the start with what to do', () => {
  test.each([
    ['key.json', '{"log_lvl": "x"}', ['key.json', 'invalid config key log_lvl', 'line 1: did you mean log_level?']],
    ['type.json', '{"log_level": 5}', ['type.json', "'log_level' expected type 'string'"]],
    ['twice.json', '{"services": [{"name": "a"}, {"name": "a"}]}', ['service id "a" is defined more than once']],
    [
      'checks.json',
      '{"checks": [{"id": "c", "name": "a", "ttl": "1s"}, {"id": "c", "name": "b", "ttl": "1s"}]}',
      ['check id "c" is defined more than once'],
    ],
    [
      'duration.json',
      '{"retry_interval": "5"}',
      ['retry_interval: invalid duration: "5": time: missing unit in duration "5"'],
    ],
    ['broken.json', '{"log_level": "info",\n  }', ['broken.json', 'line 2']],
    ['broken.hcl', 'service {\n  name = "x"\n  port = }\n', ['broken.hcl', 'At 3:10']],
    ['broken.yaml', 'service:\n  name: x\n   port: 3\n', ['broken.yaml', 'line 2']],
    ['port.json', '{"ports": {"server": 70000}}', ['ports.server: invalid port: 70000']],
  ])('%s', async (name, text, expected) => {
    const { code, stderr } = await startWith(name, text);
    for (const part of expected) expect(stderr).toContain(part);
    expect(code).toBe(1);
  });
});

describe('requests that cannot be right', () => {
  const ports = { http: 21_550, dns: 21_650 };
  const agent = new AgentProcess({ ports, args: ['-registrator=false'] });

  beforeAll(async () => {
    await agent.start();
    await agent.request('PUT', '/v1/agent/service/register', { Name: 'kept', Port: 80 });
    await agent.request('PUT', '/v1/kv/kept', 'value');
  });
  afterAll(() => agent.close());

  /** Sends bytes as they are; what comes back until the other side closes or `ms` are over. */
  function raw(port: number, bytes: Uint8Array, ms = 2_000): Promise<string> {
    return new Promise((done) => {
      let text = '';
      const socket = connect(port, '127.0.0.1', () => socket.end(bytes));
      const timer = setTimeout(() => socket.destroy(), ms);
      socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
      socket.on('error', () => undefined);
      socket.on('close', () => {
        clearTimeout(timer);
        done(text);
      });
    });
  }

  async function stillWhole(): Promise<void> {
    expect(Object.keys((await agent.get('/v1/agent/services')).json as object)).toEqual(['kept']);
    expect((await agent.get('/v1/kv/kept?raw')).text).toBe('"value"');
    expect((await agent.dns('kept.service.consul', 'SRV')).length).toBe(1);
  }

  test('a KV value over 512 KiB is refused with its size', async () => {
    const { status, text } = await agent.request('PUT', '/v1/kv/big', 'x'.repeat(512 * 1024));
    expect(status).toBe(413);
    expect(text).toContain('too large, max size: 524288 bytes');
    expect((await agent.get('/v1/kv/big')).status).toBe(404);
    await stillWhole();
  });

  test.each([
    ['{"Name": ', 'unexpected EOF'],
    ['{"Name": "x",}', 'invalid character'],
    ['{"Nam": "x"}', 'unknown field'],
    ['[]', 'cannot unmarshal'],
    ['', 'EOF'],
  ])('a registration with body %j is refused', async (body, expected) => {
    const answer = await raw(
      ports.http,
      Buffer.from(
        `PUT /v1/agent/service/register HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      ),
    );
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
    expect(answer).toContain(expected);
    await stillWhole();
  });

  test('a key that is no UTF-8 is a key like any other', async () => {
    const put = await raw(
      ports.http,
      Buffer.from('PUT /v1/kv/%ff%fe HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\nv'),
    );
    expect(put).toMatch(/^HTTP\/1.1 200 /);
    const got = await raw(
      ports.http,
      Buffer.from('GET /v1/kv/%ff%fe?raw HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
    );
    expect(got).toMatch(/^HTTP\/1.1 200 [^]*\r\n\r\nv$/);
    await raw(ports.http, Buffer.from('DELETE /v1/kv/%ff%fe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'));
    await stillWhole();
  });

  test('1 MB of garbage to DNS, over UDP and TCP', async () => {
    const random = new SeededRandom(seedOr(5));
    const socket = createSocket('udp4');
    for (let sent = 0; sent < 1 << 20;) {
      const packet = random.bytes(1 + Math.floor(random.next() * 4_000));
      await new Promise<void>((done) => socket.send(packet, ports.dns, '127.0.0.1', () => done()));
      sent += packet.length;
    }
    socket.close();
    await raw(ports.dns, random.bytes(1 << 20));
    await stillWhole();
  });

  test('garbage and an endless head to HTTP', async () => {
    const random = new SeededRandom(seedOr(6));
    await raw(ports.http, random.bytes(100_000));
    await raw(ports.http, Buffer.from(`GET / HTTP/1.1\r\nX: ${'y'.repeat(2 << 20)}`));
    await stillWhole();
  });

  test('a reload with a broken file changes nothing', async () => {
    const file = join(directory, 'reload.json');
    writeFileSync(file, '{"services": [{"name": "from-file"}]}');
    const other = new AgentProcess({
      ports: { http: 21_551, dns: 21_651 },
      args: ['-registrator=false', `-config-file=${file}`],
    });
    try {
      await other.start();
      writeFileSync(file, '{"services": [{"name": "from-file"},]}');
      const { status, text } = await other.request('PUT', '/v1/agent/reload');
      expect(status).toBe(500);
      expect(text).toContain('reload.json');
      expect(Object.keys((await other.get('/v1/agent/services')).json as object)).toEqual(['from-file']);
      writeFileSync(file, '{"services": [{"name": "another"}]}');
      expect((await other.request('PUT', '/v1/agent/reload')).status).toBe(200);
      expect(Object.keys((await other.get('/v1/agent/services')).json as object)).toEqual(['another']);
    } finally {
      await other.close();
    }
  });
});
