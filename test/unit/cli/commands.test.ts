// Each command against a fake agent: what it asks for, what it prints, how it ends. The expected texts are those of
// the recorded command lines (test/fixtures/golden/cli).
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { readCapture } from '../../golden/cli-capture.ts';
import { type Answer, type FakeAgent, fakeAgent, type Outcome, run } from './in-process.ts';

const agents: FakeAgent[] = [];
afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.close();
});

async function agentWith(answers: Readonly<Record<string, Answer>>): Promise<FakeAgent> {
  const agent = await fakeAgent(answers);
  agents.push(agent);
  return agent;
}

/** Runs a recorded command line and compares everything. */
async function expectAsRecorded(name: string, answers: Readonly<Record<string, Answer>>): Promise<FakeAgent> {
  const agent = await agentWith(answers);
  const { argv, stdin, stdout, stderr, exit } = readCapture(name);
  const expected: Outcome = { exit, stdout: stdout.text, stderr: stderr.text };
  expect(
    await agent.run(
      argv.filter((word) => !word.startsWith('-http-addr')),
      { stdin },
    ),
  ).toEqual(expected);
  return agent;
}

/** The same, where what was asked does not matter. */
const recordedAs = async (name: string, answers: Readonly<Record<string, Answer>>): Promise<void> => {
  await expectAsRecorded(name, answers);
};

const denied: Answer = { status: 403, text: 'Permission denied' };
const ok: Answer = { status: 200, text: '' };

function member(name: string, addr: string, role: 'consul' | 'node', status = 1, port = 8301): object {
  const server = { bootstrap: '1', ft_fs: '1', port: '8300', raft_vsn: '3', wan_join_port: '8302' };
  const id = name.startsWith('srv') ? '1' : name.charAt(4) === '1' ? '2' : '3';
  return {
    Name: name,
    Addr: addr,
    Port: port,
    Status: status,
    Tags: {
      acls: '0',
      build: '1.8.7:',
      dc: 'dc1',
      id: '11111111-1111-1111-1111-111111111111'.replaceAll('1', id),
      role,
      vsn: '2',
      vsn_max: '3',
      vsn_min: '2',
      ...(role === 'consul' && server),
    },
  };
}

describe('members', () => {
  const pool = (status2 = 1): Answer => ({
    json: [
      member('cli-2', '127.0.0.3', 'node', status2),
      member('cli-1', '127.0.0.2', 'node'),
      member('srv-1', '127.0.0.1', 'consul'),
    ],
  });

  test.each([
    ['members', 1],
    ['members-detailed', 1],
    ['members-failed', 4],
    ['members-after-force-leave', 3],
    ['members-status-none', 1],
  ])('%s', async (name, status2) => {
    const agent = await expectAsRecorded(name, { 'GET /v1/agent/members': pool(status2) });
    expect(agent.asked[0]!.url).toBe('/v1/agent/members?segment=_all');
  });

  test('members-wan', async () => {
    const agent = await expectAsRecorded('members-wan', {
      'GET /v1/agent/members': { json: [member('srv-1.dc1', '127.0.0.1', 'consul', 1, 8302)] },
    });
    expect(agent.asked[0]!.url).toBe('/v1/agent/members?segment=_all&wan=1');
  });

  test.each([
    ['members-acl-denied', []],
    ['members-wan-on-client', null],
  ])('%s: nothing to show is exit code 2', (name, json) => recordedAs(name, { 'GET /v1/agent/members': { json } }));

  test('a member of an unknown role, and one without build', async () => {
    const agent = await agentWith({
      'GET /v1/agent/members': {
        json: [
          { Name: 'odd', Addr: '::1', Port: 1, Status: 2, Tags: {} },
          { Name: 'old', Addr: '10.0.0.1', Port: 2, Status: 0, Tags: { role: 'node', dc: 'd', vsn: '1' } },
        ],
      },
    });
    expect((await agent.run(['members'])).stdout.split('\n').slice(1)).toEqual([
      'odd   [::1]:1     leaving  unknown                       ',
      'old   10.0.0.1:2  none     client   < 0.3  1         d   <default>',
      '',
    ]);
  });

  test('as JSON, whatever the form of the flag', async () => {
    const agent = await agentWith({ 'GET /v1/agent/members': pool() });
    for (const flags of [['-format=json'], ['--format', 'json']]) {
      const { stdout, exit } = await agent.run(['members', ...flags]);
      expect(exit).toBe(0);
      expect((JSON.parse(stdout) as { Name: string; StatusText: string }[]).map((m) => [m.Name, m.StatusText])).toEqual(
        [
          ['srv-1', 'alive'],
          ['cli-1', 'alive'],
          ['cli-2', 'alive'],
        ],
      );
    }
  });

  test('has colours on a terminal only, and not with NO_COLOR', async () => {
    const agent = await agentWith({ 'GET /v1/agent/members': pool(4) });
    const colored = await agent.run(['members'], { isTTY: true });
    expect(colored.stdout).toContain('\u001b[31mfailed\u001b[0m');
    const plain = await agent.run(['members'], { isTTY: true, env: { NO_COLOR: '1' } });
    expect(plain.stdout).toBe(readCapture('members-failed').stdout.text);
    // Colours take no columns.
    // oxlint-disable-next-line no-control-regex
    expect(colored.stdout.replaceAll(/\u001b\[\d+m/g, '')).toBe(plain.stdout);
  });
});

describe('kv get', () => {
  const entry = (Key: string, value: string, more: object = {}): object => ({
    LockIndex: 0,
    Key,
    Flags: 0,
    Value: value === '' ? null : Buffer.from(value).toString('base64'),
    CreateIndex: 22,
    ModifyIndex: 22,
    ...more,
  });
  const one: Answer = { json: [entry('app/one', '1')] };

  test.each([
    ['kv-get', 'app/one', one, '?'],
    ['kv-get-stale', 'app/one', one, '?stale='],
    ['kv-get-leading-slash', 'app/one', one, '?'],
    ['kv-get-base64', 'app/one', one, '?'],
    ['kv-get-newline-value', 'app/file', { json: [entry('app/file', 'from a file\n')] }, '?'],
    ['kv-get-missing', 'nope', { status: 404, text: '' }, '?'],
    ['kv-get-acl-denied', 'a', denied, '?'],
    ['kv-get-bad-dc', 'app/one', { status: 500, text: 'No path to datacenter' }, '?dc=dc9'],
    ['kv-get-detailed', 'app/flags', { json: [entry('app/flags', 'x', { Flags: 42 })] }, '?'],
    [
      'kv-get-detailed-locked',
      'app/lock',
      { json: [entry('app/lock', '3', { LockIndex: 1, CreateIndex: 26, ModifyIndex: 27 })] },
      '?',
    ],
    [
      'kv-get-recurse-detailed',
      'app/f',
      {
        json: [
          entry('app/file', 'from a file\n', { CreateIndex: 20, ModifyIndex: 20 }),
          entry('app/flags', 'x', { Flags: 42 }),
        ],
      },
      '?recurse=',
    ],
    [
      'kv-get-recurse',
      'app/',
      {
        json: [
          entry('app/b64', 'hello'),
          entry('app/empty', ''),
          entry('app/file', 'from a file\n'),
          entry('app/flags', 'x'),
          entry('app/lock', '3'),
          entry('app/one', '1'),
          entry('app/stdin', 'from stdin\n'),
        ],
      },
      '?recurse=',
    ],
    ['kv-get-recurse-missing', 'nope/', { status: 404, text: '' }, '?recurse='],
    ['kv-get-keys-missing', 'nope/', { status: 404, text: '' }, '?keys=&separator=%2F'],
    ['kv-get-keys-top', '', { json: ['app/'] }, '?keys=&separator=%2F'],
    [
      'kv-get-keys-separator',
      'ap',
      { json: ['b64', 'empty', 'file', 'flags', 'lock', 'one', 'stdin'].map((name) => `app/${name}`) },
      '?keys=',
    ],
  ] satisfies [string, string, Answer, string][])('%s', async (name, key, answer, query) => {
    const agent = await expectAsRecorded(name, { [`GET /v1/kv/${key}`]: answer });
    expect(agent.asked[0]!.url).toBe(`/v1/kv/${key}${query === '?' ? '' : query}`);
  });

  test('prints the bytes of the value as they are, and 64-bit flags with all digits', async () => {
    const bytes = Buffer.from([0xff, 0x00, 0xfe]);
    const agent = await agentWith({
      'GET /v1/kv/k': (_, response) =>
        response.end(`[{"Key":"k","Flags":18446744073709551615,"Value":"${bytes.toString('base64')}"}]`),
    });
    expect((await agent.run(['kv', 'get', '-base64', 'k'])).stdout).toBe('/wD+\n');
    expect((await agent.run(['kv', 'get', '-detailed', 'k'])).stdout).toContain(
      'Flags            18446744073709551615\n',
    );
  });
});

describe('kv put and delete', () => {
  const written: Answer = { status: 200, text: 'true' };
  const refused: Answer = { status: 200, text: 'false' };
  const session = '50b38626-41ac-4b93-dab9-58455f03bcbd';
  const noSession = '99999999-9999-9999-9999-999999999999';

  test.each([
    ['kv-put', 'PUT /v1/kv/app/one', written, '', '1'],
    ['kv-put-empty', 'PUT /v1/kv/app/empty', written, '', ''],
    ['kv-put-stdin', 'PUT /v1/kv/app/stdin', written, '', 'from stdin\n'],
    ['kv-put-base64', 'PUT /v1/kv/app/b64', written, '', 'hello'],
    ['kv-put-flags', 'PUT /v1/kv/app/flags', written, '?flags=42', 'x'],
    ['kv-put-cas-fail', 'PUT /v1/kv/app/one', refused, '?cas=1', '2'],
    ['kv-put-acquire', 'PUT /v1/kv/app/lock', written, `?acquire=${session}`, '2'],
    ['kv-put-release', 'PUT /v1/kv/app/lock', written, `?release=${session}`, '3'],
    ['kv-put-release-again', 'PUT /v1/kv/app/lock', refused, `?release=${session}`, '3'],
    [
      'kv-put-acquire-badsession',
      'PUT /v1/kv/app/lock',
      { status: 500, text: `invalid session "${noSession}"` },
      `?acquire=${noSession}`,
      '2',
    ],
    ['kv-put-acl-denied', 'PUT /v1/kv/a', denied, '', 'b'],
    ['kv-put-empty-key', 'PUT /v1/kv/', { status: 400, text: 'Missing key name' }, '', 'x'],
    ['kv-delete', 'DELETE /v1/kv/app/one', written, '', ''],
    ['kv-delete-missing', 'DELETE /v1/kv/nope', written, '', ''],
    ['kv-delete-recurse', 'DELETE /v1/kv/imp/', written, '?recurse=', ''],
    ['kv-delete-cas-fail', 'DELETE /v1/kv/app/flags', refused, '?cas=1', ''],
  ] satisfies [string, string, Answer, string, string][])('%s', async (name, route, answer, query, body) => {
    const agent = await expectAsRecorded(name, { [route]: answer });
    expect(agent.asked).toHaveLength(1);
    expect(agent.asked[0]).toMatchObject({ url: route.split(' ')[1]! + query, body });
  });

  test('flags and indexes use all 64 bits; what does not fit is refused as Go refuses it', async () => {
    const agent = await agentWith({ 'PUT /v1/kv/k': written });
    await agent.run(['kv', 'put', '-flags=18446744073709551615', 'k', 'v']);
    expect(agent.asked[0]!.url).toBe('/v1/kv/k?flags=18446744073709551615');
    for (const [text, reason] of [
      ['18446744073709551616', 'value out of range'],
      ['-1', 'parse error'],
    ]) {
      const { stderr, exit } = await agent.run(['kv', 'put', `-flags=${text}`, 'k', 'v']);
      expect(stderr.split('\n')[0]).toBe(`invalid value "${text}" for flag -flags: ${reason}`);
      expect(exit).toBe(1);
    }
  });

  test('a value from a file', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'portolan-kv-'));
    writeFileSync(join(dir, 'v'), 'from a file\n');
    const agent = await agentWith({ 'PUT /v1/kv/k': written });
    await agent.run(['kv', 'put', 'k', `@${join(dir, 'v')}`]);
    rmSync(dir, { recursive: true });
    expect(agent.asked[0]!.body).toBe('from a file\n');
  });

  test.each([
    [['-modify-index=1', 'k'], 'Cannot specify -modify-index without -cas!'],
    [['-cas', '-modify-index=1', '-recurse', 'k'], 'Cannot specify both -cas and -recurse!'],
    [['a', 'b'], 'Error! Too many arguments (expected 1, got 2)'],
  ])('kv delete %j: %s', async (args, message) => {
    expect(await run(['kv', 'delete', ...args])).toEqual({ exit: 1, stdout: '', stderr: `${message}\n` });
  });
});

describe('kv export and import', () => {
  test('export prints what import reads, 64-bit flags included', async () => {
    const agent = await agentWith({
      'GET /v1/kv/': (_, response) =>
        response.end('[{"Key":"a<b","Flags":18446744073709551615,"Value":"MQ=="},{"Key":"e","Flags":0,"Value":null}]'),
      'PUT /v1/kv/a<b': { status: 200, text: 'true' },
      'PUT /v1/kv/a%3Cb': { status: 200, text: 'true' },
      'PUT /v1/kv/e': { status: 200, text: 'true' },
    });
    const exported = await agent.run(['kv', 'export']);
    expect(exported.stdout).toContain(String.raw`"key": "a\u003cb"`);
    const imported = await agent.run(['kv', 'import', '-'], { stdin: exported.stdout });
    expect(imported).toEqual({ exit: 0, stdout: 'Imported: a<b\nImported: e\n', stderr: '' });
    expect(agent.asked.slice(1).map(({ url, body }) => [url, body])).toEqual([
      ['/v1/kv/a%3Cb?flags=18446744073709551615', '1'],
      ['/v1/kv/e', ''],
    ]);
  });

  test('kv-export', () =>
    recordedAs('kv-export', {
      'GET /v1/kv/app/f': {
        json: [
          { Key: 'app/file', Flags: 0, Value: 'ZnJvbSBhIGZpbGUK' },
          { Key: 'app/flags', Flags: 42, Value: 'eA==' },
        ],
      },
    }));

  test('kv-export-missing', () => recordedAs('kv-export-missing', {}));

  test.each(['kv-import', 'kv-import-arg'])('%s', (name) =>
    recordedAs(
      name,
      Object.fromEntries(['a', 'b', 'c'].map((key) => [`PUT /v1/kv/imp/${key}`, { status: 200, text: 'true' }])),
    ),
  );

  test('import stops at the first error', async () => {
    const agent = await agentWith({ 'PUT /v1/kv/a': { status: 200, text: 'true' }, 'PUT /v1/kv/b': denied });
    const data = JSON.stringify(['a', 'b', 'c'].map((key) => ({ key, flags: 0, value: '' })));
    expect(await agent.run(['kv', 'import', data])).toEqual({
      exit: 1,
      stdout: 'Imported: a\n',
      stderr: 'Error! Failed writing data for key b: Unexpected response code: 403 (Permission denied)\n',
    });
  });

  test.each([
    ['', 'Error! Empty DATA argument'],
    ['[] x', 'Cannot unmarshal data: invalid character after top-level value'],
    ['{}', 'Cannot unmarshal data: expected a list of {"key", "flags", "value"} objects'],
    ['[{"key":1}]', 'Cannot unmarshal data: "key" of entry 1 must be a string'],
    ['[{"flags":-1}]', 'Cannot unmarshal data: "flags" of entry 1 must be a whole number from 0 to 2^64-1'],
    ['[{"key":"k","value":"YQ"}]', 'Error base 64 decoding value for key k: illegal base64 data at input byte 0'],
  ])('import refuses %j', async (data, message) => {
    expect(await run(['kv', 'import', data])).toEqual({ exit: 1, stdout: '', stderr: `${message}\n` });
  });
});

describe('catalog', () => {
  const node = (name: string, n: number, meta: object = {}): object => ({
    ID: '11111111-1111-1111-1111-111111111111'.replaceAll('1', String(n)),
    Node: name,
    Address: `127.0.0.${name === 'srv-1' ? 1 : n}`,
    Datacenter: 'dc1',
    TaggedAddresses: Object.fromEntries(
      ['wan', 'lan', 'wan_ipv4', 'lan_ipv4'].map((key) => [key, `127.0.0.${name === 'srv-1' ? 1 : n}`]),
    ),
    Meta: { 'consul-network-segment': '', ...meta },
  });
  const all = [node('cli-1', 2), node('cli-2', 3), node('srv-1', 1, { rack: 'a' })];

  test.each([
    ['catalog-nodes', all, ''],
    ['catalog-nodes-detailed', all, ''],
    ['catalog-nodes-near', all, '?near=_agent'],
    ['catalog-nodes-filter', [all[0]], '?filter=Node+%3D%3D+%22cli-1%22'],
    ['catalog-nodes-meta', [all[2]], '?node-meta=rack%3Aa'],
  ])('%s', async (name, json, query) => {
    const agent = await expectAsRecorded(name, { 'GET /v1/catalog/nodes': { json } });
    expect(agent.asked[0]!.url).toBe(`/v1/catalog/nodes${query}`);
  });

  test('catalog-nodes-service', () =>
    recordedAs('catalog-nodes-service', {
      'GET /v1/catalog/service/web': { json: [{ ...(all[2] as object), NodeMeta: {}, ServiceName: 'web' }] },
    }));

  test('catalog-nodes-service-none', () =>
    recordedAs('catalog-nodes-service-none', { 'GET /v1/catalog/service/nope': { json: [] } }));

  test('catalog-nodes-bad-filter', () =>
    recordedAs('catalog-nodes-bad-filter', {
      'GET /v1/catalog/nodes': {
        status: 500,
        text: /\((Failed.*)\)\n/.exec(readCapture('catalog-nodes-bad-filter').stderr.text)![1]!,
      },
    }));

  const services = { web: ['v1', 'primary'], api: [], cache: ['b', 'a'], consul: [], db: [], edge: [] };
  test.each(['catalog-services', 'catalog-services-tags'])('%s', (name) =>
    recordedAs(name, { 'GET /v1/catalog/services': { json: services } }),
  );

  test('catalog-services-node', () =>
    recordedAs('catalog-services-node', {
      'GET /v1/catalog/node/srv-1': {
        json: {
          Services: Object.fromEntries(
            ['web', 'api', 'cache', 'consul', 'db'].map((Service) => [Service, { Service, Tags: null }]),
          ),
        },
      },
    }));

  test('catalog-services-node-none', () =>
    recordedAs('catalog-services-node-none', { 'GET /v1/catalog/node/nope': { json: null } }));

  test('catalog-datacenters, and as JSON', async () => {
    const answers = { 'GET /v1/catalog/datacenters': { json: ['dc1'] } };
    const agent = await expectAsRecorded('catalog-datacenters', answers);
    expect(JSON.parse((await agent.run(['catalog', 'datacenters', '-format=json'])).stdout)).toEqual(['dc1']);
  });

  test.each(['datacenters', 'nodes', 'services'])('catalog %s takes no operands', async (name) => {
    expect((await run(['catalog', name, 'x'])).stderr).toBe('Too many arguments (expected 0, got 1)\n');
  });
});

describe('info', () => {
  test.each(['info-server', 'info-client'])('%s', async (name) => {
    const Stats: Record<string, Record<string, string>> = {};
    let section = '';
    for (const line of readCapture(name).stdout.text.trimEnd().split('\n')) {
      const found = /^\t(.*?) = (.*)$/.exec(line);
      if (found === null) Stats[(section = line.slice(0, -1))] = {};
      else Stats[section] = { [found[1]!]: found[2]!, ...Stats[section] };
    }
    await expectAsRecorded(name, { 'GET /v1/agent/self': { json: { Stats } } });
  });

  test('info-acl-denied', () => recordedAs('info-acl-denied', { 'GET /v1/agent/self': denied }));
});

describe('membership commands', () => {
  test('join, join-several, join-wan', async () => {
    await expectAsRecorded('join', { 'PUT /v1/agent/join/127.0.0.2': ok });
    await expectAsRecorded('join-several', {
      'PUT /v1/agent/join/127.0.0.2': ok,
      'PUT /v1/agent/join/127.0.0.3': ok,
    });
    const agent = await expectAsRecorded('join-wan', { 'PUT /v1/agent/join/127.0.0.1': ok });
    expect(agent.asked[0]!.url).toBe('/v1/agent/join/127.0.0.1?wan=1');
  });

  test.each(['join-bad', 'join-mixed'])('%s', (name) =>
    recordedAs(name, {
      'PUT /v1/agent/join/127.0.0.9': {
        status: 500,
        text: '1 error occurred:\n\t* Failed to join 127.0.0.9: dial tcp 127.0.0.9:8301: connect: connection refused\n\n',
      },
      'PUT /v1/agent/join/127.0.0.2': ok,
    }),
  );

  test('force-leave, with and without -prune, of an unknown node', async () => {
    await expectAsRecorded('force-leave', { 'PUT /v1/agent/force-leave/cli-2': ok });
    const agent = await expectAsRecorded('force-leave-prune', { 'PUT /v1/agent/force-leave/cli-2': ok });
    expect(agent.asked[0]!.url).toBe('/v1/agent/force-leave/cli-2?prune=1');
    await expectAsRecorded('force-leave-unknown', {
      'PUT /v1/agent/force-leave/nope': { status: 500, text: "agent: No node found with name 'nope'" },
    });
  });

  test('leave and reload', async () => {
    await expectAsRecorded('leave', { 'PUT /v1/agent/leave': ok });
    const agent = await expectAsRecorded('reload', { 'PUT /v1/agent/reload': ok });
    expect(agent.asked).toHaveLength(1);
  });

  test('a reload that fails says why', async () => {
    const agent = await agentWith({ 'PUT /v1/agent/reload': { status: 500, text: 'invalid config key frob' } });
    expect(await agent.run(['reload'])).toEqual({
      exit: 1,
      stdout: '',
      stderr: 'Error reloading: Unexpected response code: 500 (invalid config key frob)\n',
    });
  });
});

describe('maint', () => {
  const self: Answer = { json: { Config: { NodeName: 'srv-1' } } };
  const check = (CheckID: string, Notes: string, ServiceID = ''): object => ({ CheckID, Notes, ServiceID });
  const byDefault =
    'Maintenance mode is enabled for this service, but no reason was provided. This is a default message.';

  test.each([
    ['maint-status', {}],
    ['maint-status-enabled', { a: check('serfHealth', ''), _: check('_node_maintenance', 'upgrade') }],
    [
      'maint-service-status',
      {
        s: check('_service_maintenance:db-1', byDefault, 'db-1'),
        _: check('_node_maintenance', 'upgrade'),
      },
    ],
  ])('%s', (name, json) => recordedAs(name, { 'GET /v1/agent/self': self, 'GET /v1/agent/checks': { json } }));

  test.each([
    ['maint-enable', '/v1/agent/maintenance?enable=true&reason=upgrade', ok],
    ['maint-disable', '/v1/agent/maintenance?enable=false', ok],
    ['maint-service-enable', '/v1/agent/service/maintenance/db-1?enable=true&reason=', ok],
    ['maint-disable-service', '/v1/agent/service/maintenance/db-1?enable=false', ok],
    [
      'maint-service-unknown',
      '/v1/agent/service/maintenance/nope?enable=true&reason=',
      { status: 404, text: 'No service registered with ID "nope"' },
    ],
  ] satisfies [string, string, Answer][])('%s', async (name, url, answer) => {
    const agent = await expectAsRecorded(name, {
      'GET /v1/agent/self': self,
      [`PUT ${url.split('?')[0]}`]: answer,
    });
    expect(agent.asked.at(-1)!.url).toBe(url);
  });
});

describe('monitor', () => {
  test('prints lines as they come and ends with 0 when interrupted', async () => {
    const agent = await agentWith({
      'GET /v1/agent/monitor': (_, response) => {
        response.writeHead(200).write('one\ntwo\n');
      },
    });
    let interrupt = (): void => undefined;
    const outcome = await agent.run(['monitor', '-log-level=debug'], {
      onReady: (callback) => (interrupt = callback),
      onOutput: () => interrupt(),
    });
    expect(outcome).toEqual({ exit: 0, stdout: 'one\ntwo\n', stderr: '' });
    expect(agent.asked[0]!.url).toBe('/v1/agent/monitor?loglevel=debug');
  });

  test('ends with 1 when the agent goes away', async () => {
    const agent = await agentWith({ 'GET /v1/agent/monitor': (_, response) => response.end('one\n') });
    expect(await agent.run(['monitor'])).toEqual({
      exit: 1,
      stdout: 'one\n',
      stderr: 'Remote side ended the monitor! This usually means that the\nremote side has exited or crashed.\n',
    });
  });

  test('monitor-bad-level', () =>
    recordedAs('monitor-bad-level', {
      'GET /v1/agent/monitor': { status: 400, text: 'Bad request: Unknown log level: blah' },
    }));
});

test('a client agent has no WAN members to show', async () => {
  const agent = await agentWith({ 'GET /v1/agent/members': { json: null } });
  expect(await agent.run(['members', '-wan'])).toEqual({ exit: 2, stdout: '', stderr: '' });
});

describe('health', () => {
  test.each([
    [{ json: '127.0.0.1:8300' }, 0, 'Leader: 127.0.0.1:8300\n', ''],
    [{ json: '' }, 1, '', 'The agent answers but the cluster has no leader\n'],
    [
      { status: 500, text: 'No known Consul servers' },
      1,
      '',
      'Error querying agent: Unexpected response code: 500 (No known Consul servers)\n',
    ],
  ] satisfies [Answer, number, string, string][])('%j is exit code %i', async (answer, exit, stdout, stderr) => {
    const agent = await agentWith({ 'GET /v1/status/leader': answer });
    expect(await agent.run(['health', '-leader'])).toEqual({ exit, stdout, stderr });
  });

  test.each([
    [{ status: 200, text: 'Consul Agent' }, 0],
    [{ status: 301, text: '' }, 0],
    [{ status: 404, text: '' }, 0],
    [{ status: 500, text: 'internal error' }, 1],
  ] satisfies [Answer, number][])(
    'of the agent alone is asked for without servers: %j is exit code %i',
    async (answer, exit) => {
      const agent = await agentWith({ 'GET /': answer });
      expect(await agent.run(['health'])).toMatchObject({ exit, stdout: exit === 0 ? 'The agent answers\n' : '' });
      expect(agent.asked.map(({ url }) => url)).toEqual(['/']);
    },
  );
});

describe('services', () => {
  const ok = { 'PUT /v1/agent/service/register': { status: 200, text: '' } };

  test('register sends what the flags say', async () => {
    const agent = await expectAsRecorded('services-register-flags', ok);
    expect(JSON.parse(agent.asked[0]!.body)).toEqual({
      Name: 'cache',
      Port: 6379,
      Tags: ['a', 'b'],
      Meta: { k: 'v' },
      TaggedAddresses: { lan: { Address: '10.0.0.1', Port: 80 } },
    });
  });

  test.each([
    ['10.0.0.1', { Address: '10.0.0.1', Port: 0 }],
    ['host:80', { Address: 'host', Port: 80 }],
    ['fd00::1', { Address: 'fd00::1', Port: 0 }],
    ['[fd00::1]:80', { Address: 'fd00::1', Port: 80 }],
  ])('a tagged address may be %s', async (text, expected) => {
    const agent = await agentWith(ok);
    await agent.run(['services', 'register', '-name=x', `-tagged-address=wan=${text}`]);
    expect(JSON.parse(agent.asked[0]!.body)).toMatchObject({ TaggedAddresses: { wan: expected } });
  });

  test('a tagged address that is none is refused', async () => {
    const { exit, stderr } = await run(['services', 'register', '-name=x', '-tagged-address=wan=a:b:c']);
    expect({ exit, stderr }).toEqual({
      exit: 1,
      stderr: 'Tagged address "wan": "a:b:c" must be ADDR, ADDR:PORT or [IPV6]:PORT\n',
    });
  });

  test('a definition with checks arrives whole, and is removed by its ID', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'portolan-services-'));
    const file = join(dir, 'web.hcl');
    writeFileSync(file, 'service { id = "web-1" name = "web" check { http = "http://x/" interval = "10s" } }');
    const agent = await agentWith({ ...ok, 'PUT /v1/agent/service/deregister/web-1': { status: 200, text: '' } });
    expect((await agent.run(['services', 'register', file])).stdout).toBe('Registered service: web\n');
    expect((await agent.run(['services', 'deregister', file])).stdout).toBe('Deregistered service: web-1\n');
    rmSync(dir, { recursive: true });
    expect(JSON.parse(agent.asked[0]!.body)).toEqual({
      ID: 'web-1',
      Name: 'web',
      Checks: [{ HTTP: 'http://x/', Interval: '10s' }],
    });
  });
});
