// Commands that look after a cluster: snapshots, certificates, keys, config entries, the mesh.
import { X509Certificate } from 'node:crypto';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readConfigEntry } from '../../../src/cli/commands/config-write.ts';
import { withService } from '../../../src/cli/commands/connect-expose.ts';
import { formatPool } from '../../../src/cli/commands/keyring.ts';
import { verifySnapshot } from '../../../src/cli/snapshot-archive.ts';
import { type TarFile, writeTar } from '../../../src/codec/index.ts';
import { type FakeAgent, fakeAgent, run } from './in-process.ts';

let dir: string;
const home = process.cwd();
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'portolan-operations-'));
  process.chdir(dir);
});
afterEach(() => {
  process.chdir(home);
  rmSync(dir, { recursive: true });
});

const file = (name: string, text: string): TarFile => ({ name, content: Buffer.from(text), mtime: 0 });
const sum = (text: string): string => createHash('sha256').update(text).digest('hex');
const meta = '{"Version":1,"ID":"2-7-9","Index":7,"Term":2,"Size":5}';

function snapshotOf(
  state: string,
  sums = `${sum(meta)}  meta.json\n${sum(state)}  state.bin\n`,
  more: TarFile[] = [],
): Buffer {
  return gzipSync(writeTar([file('meta.json', meta), file('state.bin', state), file('SHA256SUMS', sums), ...more]));
}

describe('a snapshot file', () => {
  const good = snapshotOf('state');
  test('says what it is', async () => {
    writeFileSync('s.tgz', good);
    expect(await verifySnapshot('s.tgz')).toMatchObject({ ID: '2-7-9', Index: 7, Size: 5 });
    expect((await run(['snapshot', 'inspect', 's.tgz'])).stdout).toBe(
      'ID           2-7-9\nSize         5\nIndex        7\nTerm         2\nVersion      1\n\n',
    );
    expect(JSON.parse((await run(['snapshot', 'inspect', '-format=json', 's.tgz'])).stdout)).toMatchObject({ Term: 2 });
  });

  test.each([
    ['not compressed', Buffer.from('no archive at all'), 'failed to decompress snapshot: gzip: invalid header'],
    [
      'cut short',
      good.subarray(0, good.length - 20),
      'failed to read snapshot file: failed to read or write snapshot data: unexpected EOF',
    ],
    [
      'of another state',
      snapshotOf('other', `${sum(meta)}  meta.json\n${sum('state')}  state.bin\n`),
      'failed to read snapshot file: failed checking integrity of snapshot: hash check failed for "state.bin"',
    ],
    [
      'without sums',
      snapshotOf('state', ''),
      'failed to read snapshot file: failed checking integrity of snapshot: hash check failed for "meta.json"',
    ],
    [
      'with something else in it',
      snapshotOf('state', '', [file('x', '')]),
      'failed to read snapshot file: unexpected file "x" in snapshot',
    ],
    [
      'empty',
      gzipSync(writeTar([])),
      'failed to read snapshot file: failed checking integrity of snapshot: file missing for "meta.json"',
    ],
  ])('%s is refused', async (_, bytes, problem) => {
    writeFileSync('s.tgz', bytes);
    await expect(verifySnapshot('s.tgz')).rejects.toThrow(problem);
  });

  test('is saved under its name only when it is right', async () => {
    let body = good;
    const agent = await fakeAgent({ 'GET /v1/snapshot': (_, response) => void response.end(body) });
    expect(await agent.run(['snapshot', 'save', '-stale', 'x.tgz'])).toMatchObject({
      exit: 0,
      stdout: 'Saved and verified snapshot to index 7\n',
    });
    expect(agent.asked[0]!.url).toBe('/v1/snapshot?stale=');
    expect(statSync('x.tgz').mode & 0o777).toBe(0o600);
    body = good.subarray(0, 100);
    expect(await agent.run(['snapshot', 'save', 'y.tgz'])).toMatchObject({ exit: 1, stdout: '' });
    expect(readdirSync('.')).toEqual(['x.tgz']);
    await agent.close();
  });
});

describe('certificates', () => {
  const pem = (name: string): X509Certificate => new X509Certificate(readFileSync(name));

  test('an authority signs; names, addresses and life are as asked; keys are for their owner', async () => {
    expect((await run(['tls', 'ca', 'create', '-days=10'])).exit).toBe(0);
    const words = ['tls', 'cert', 'create', '-server', '-node=n1', '-dc=dc9', '-days=3'];
    expect((await run([...words, '-additional-dnsname=a.b', '-additional-ipaddress=fd00::1'])).exit).toBe(0);
    const ca = pem('consul-agent-ca.pem');
    const server = pem('dc9-server-consul-0.pem');
    expect([ca.ca, ca.verify(ca.publicKey)]).toEqual([true, true]);
    expect([server.ca, server.verify(ca.publicKey), server.checkIssued(ca)]).toEqual([false, true, true]);
    expect(server.subject).toBe('CN=server.dc9.consul');
    expect(server.subjectAltName).toBe(
      'DNS:a.b, DNS:n1.server.dc9.consul, DNS:server.dc9.consul, DNS:localhost, IP Address:FD00:0:0:0:0:0:0:1, IP Address:127.0.0.1',
    );
    const days = (Date.parse(server.validTo) - Date.parse(server.validFrom)) / 86_400_000;
    expect(days).toBe(3);
    for (const key of ['consul-agent-ca-key.pem', 'dc9-server-consul-0-key.pem']) {
      expect(statSync(key).mode & 0o777).toBe(0o600);
    }
  });

  test('the next one gets the next number; nothing is written over', async () => {
    await run(['tls', 'ca', 'create']);
    expect(await run(['tls', 'ca', 'create'])).toMatchObject({
      exit: 1,
      stderr: 'consul-agent-ca.pem already exists.\n',
    });
    for (let i = 0; i < 2; i++) await run(['tls', 'cert', 'create', '-client']);
    expect(existsSync('dc1-client-consul-1-key.pem')).toBe(true);
  });

  test.each([
    [['-server', '-client'], 'Please provide either -server, -client, or -cli\n'],
    [['-client', '-node=x'], '-node requires -server\n'],
    [['-client'], 'Error reading CA: open consul-agent-ca.pem: no such file or directory\n'],
  ])('refused: %j', async (flags, stderr) => {
    expect(await run(['tls', 'cert', 'create', ...flags])).toEqual({ exit: 1, stdout: '', stderr });
  });
});

test('the keys of a pool', () => {
  const pool = { WAN: false, Datacenter: 'dc1', Keys: { a: 3, b: 2 }, PrimaryKeys: { a: 3 }, NumNodes: 3 };
  expect(formatPool(pool, false)).toBe('dc1 (LAN):\n  a [3/3]\n  b [2/3]');
  expect(formatPool({ ...pool, WAN: true }, true)).toBe('WAN:\n  a [3/3]');
  expect(formatPool({ ...pool, Segment: 's' }, true)).toBe('dc1 [s] (LAN):\n  a [3/3]');
});

describe('a config entry', () => {
  test('in HCL: blocks stand for themselves, lists of blocks stay lists', () => {
    const { entry, kind, name } = readConfigEntry(`
      Kind = "service-router"
      Name = "web"
      Routes = [ { Match { HTTP { PathPrefix = "/a" } } Destination { Service = "a" } } ]`);
    expect([kind, name]).toEqual(['service-router', 'web']);
    expect(entry).toEqual({
      Kind: 'service-router',
      Name: 'web',
      Routes: [{ Match: { HTTP: { PathPrefix: '/a' } }, Destination: { Service: 'a' } }],
    });
  });

  test('in HCL: settings of any form', () => {
    const { entry } = readConfigEntry('kind="proxy-defaults" name="global" config { a = 1 b { c = [1, 2] } }');
    expect(entry).toEqual({ kind: 'proxy-defaults', name: 'global', config: { a: 1, b: { c: [1, 2] } } });
  });

  test.each([
    ['', 'Payload does not contain a kind/Kind key at the top level'],
    ['{"Name":"x"}', 'Payload does not contain a kind/Kind key at the top level'],
    ['kind = "nope"', 'invalid config entry kind: nope'],
    ['{"Kind"', 'unexpected EOF'],
  ])('refused: %s', (text, problem) => {
    expect(() => readConfigEntry(text)).toThrow(`Failed to decode config entry input: ${problem}`);
  });

  test('that has changed meanwhile is not written', async () => {
    const agent = await fakeAgent({ 'PUT /v1/config': { json: false } });
    const stdin = '{"Kind":"service-defaults","Name":"web"}';
    expect(await agent.run(['config', 'write', '-cas', '-modify-index=7', '-'], { stdin })).toEqual({
      exit: 1,
      stdout: '',
      stderr: 'Config entry not updated: service-defaults/web\n',
    });
    expect(agent.asked[0]!.url).toBe('/v1/config?cas=7');
    await agent.close();
  });
});

describe('exposing a service', () => {
  const gateway = { Kind: 'ingress-gateway', Name: 'gw' };
  const service = { Name: 'web' };
  test('adds a listener, or a service to it, or replaces the service', () => {
    const one = withService(gateway, { port: 1, protocol: 'http' }, service);
    expect(one.Listeners).toEqual([{ Port: 1, Protocol: 'http', Services: [service] }]);
    const two = withService(one, { port: 1, protocol: 'http' }, { Name: 'db' });
    const three = withService(two, { port: 1, protocol: 'http' }, { Name: 'web', Hosts: ['h'] });
    expect(three.Listeners![0]!.Services).toEqual([{ Name: 'db' }, { Name: 'web', Hosts: ['h'] }]);
    expect(withService(three, { port: 2, protocol: 'tcp' }, service).Listeners).toHaveLength(2);
  });
  test('refuses another protocol', () => {
    const one = withService(gateway, { port: 1, protocol: 'http' }, service);
    expect(() => withService(one, { port: 1, protocol: 'tcp' }, service)).toThrow('conflicting protocol "http"');
  });
});

describe('exec', () => {
  let agent: FakeAgent;
  const session = '11111111-1111-1111-1111-111111111111';
  const folder = `/v1/kv/_rexec/${session}`;
  const self = { json: { Config: { Datacenter: 'dc1', NodeName: 'n' } } };
  afterEach(() => agent.close());

  test('tells what nodes write, output before exit codes, and cleans up', async () => {
    const keys = ['job', 'a/ack', 'a/exit', 'a/out/00000', 'b/ack', 'b/exit', 'b/out/00000', 'odd'];
    let polls = 0;
    agent = await fakeAgent({
      'GET /v1/agent/self': self,
      'PUT /v1/session/create': { json: { ID: session } },
      [`PUT ${folder}/job`]: { json: true },
      'PUT /v1/event/fire/_rexec': { json: { ID: 'e' } },
      [`GET ${folder}/`]: (_, response) => {
        response.setHeader('X-Consul-Index', '5');
        if (polls++ === 0) response.end(JSON.stringify(keys.map((key) => `_rexec/${session}/${key}`)));
      },
      [`GET ${folder}/a/exit`]: { status: 200, text: '0' },
      [`GET ${folder}/b/exit`]: { status: 200, text: '3' },
      [`GET ${folder}/a/out/00000`]: { status: 200, text: 'one\ntwo\n' },
      [`GET ${folder}/b/out/00000`]: { status: 200, text: '' },
      [`PUT /v1/session/destroy/${session}`]: { json: true },
      [`DELETE ${folder}`]: { json: true },
    });
    const words = ['exec', '-verbose', '-wait=100ms', '-wait-repl=1ms', '-service=web', '-tag=v', 'uptime', '-p'];
    const { exit, stdout } = await agent.run(words);
    expect(exit).toBe(2);
    expect(
      stdout
        .replace(/in [\d.]+ s/, 'in T s')
        .split('\n')
        .slice(3),
    ).toEqual([
      '==> a: acknowledged',
      '==> b: acknowledged',
      '    a: one',
      '    a: two',
      '    a:',
      '==> b: heartbeat received',
      '==> a: finished with exit code 0',
      '==> b: finished with exit code 3',
      '2 / 2 node(s) completed / acknowledged',
      'Completed in T seconds',
      '',
    ]);
    const asked = (start: string) => agent.asked.find(({ method, url }) => `${method} ${url}`.startsWith(start))!;
    expect(JSON.parse(asked(`PUT ${folder}/job?acquire=`).body)).toEqual({ Command: 'uptime -p', Wait: 1e8 });
    expect(asked('PUT /v1/event/fire').url).toBe('/v1/event/fire/_rexec?service=web&tag=v');
    expect(JSON.parse(asked('PUT /v1/event/fire').body)).toEqual({ Prefix: '_rexec', Session: session });
    expect(JSON.parse(asked('PUT /v1/session/create').body)).toMatchObject({ Behavior: 'delete', TTL: '15s' });
    expect(agent.asked.slice(-2).map(({ method }) => method)).toEqual(['PUT', 'DELETE']);
  });

  test('in another datacenter the session belongs to a server there', async () => {
    agent = await fakeAgent({
      'GET /v1/agent/self': self,
      'GET /v1/health/service/consul': { json: [{ Node: { Node: 'far' } }] },
      'PUT /v1/session/create': { status: 500, text: 'no' },
    });
    const { exit, stderr } = await agent.run(['exec', '-datacenter=dc2', 'true']);
    expect([exit, stderr]).toEqual([1, 'Failed to create session: Unexpected response code: 500 (no)\n']);
    expect(JSON.parse(agent.asked.at(-1)!.body)).toMatchObject({ Name: 'Remote Exec via n@dc1', Node: 'far' });
  });
});
