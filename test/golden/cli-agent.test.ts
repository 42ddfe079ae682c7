// Replays recorded command lines of the real program with the built program, against an agent of its own: a server as
// in the recordings (reference/agent.md §1.7), on free ports of loopback, with the other two nodes of the recorded
// cluster registered as external ones. In the order of the recordings, for each finds what those before it left.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Capture, captureDir, readCapture, withoutAgent } from './cli-capture.ts';

const program = resolve(import.meta.dirname, '../../dist/portolan.js');
const built = existsSync(program);
if (!built) console.log('golden/cli-agent: skipped, dist/portolan.js is not built (npm run build)');

/** Longest time until the agent leads, ms. */
const startMs = 20_000;

const ids = ['1', '2', '3'].map((digit) => '11111111-1111-1111-1111-111111111111'.replaceAll('1', digit));
const ports: Record<string, number> = {};
/** Ports of the recordings by name. */
const recordedPorts = { http: 8500, dns: 8600, server: 8300, serf_lan: 8301, serf_wan: 8302 } as const;
let agent: ChildProcess | undefined;
let agentOutput = '';
let dir: string;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const url = (path: string): string => `http://127.0.0.1:${ports['http']}${path}`;

async function put(path: string, body: unknown): Promise<unknown> {
  const response = await fetch(url(path), { method: 'PUT', body: JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
  return text === '' ? null : JSON.parse(text);
}

/** Asks until `ready` holds; the time limit is only for a broken agent. */
async function until(path: string, ready: (text: string) => boolean): Promise<void> {
  const deadline = Date.now() + startMs;
  for (;;) {
    const text = await fetch(url(path)).then(
      (response) => (response.ok ? response.text() : ''),
      () => '',
    );
    if (ready(text)) return;
    if (Date.now() > deadline || agent?.exitCode !== null) {
      throw new Error(`the agent did not get ready (${path}: ${text}):\n${agentOutput}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function start(): Promise<void> {
  dir = mkdtempSync(join(tmpdir(), 'portolan-cli-agent-'));
  for (const name of Object.keys(recordedPorts)) ports[name] = await freePort();
  const files: Readonly<Record<string, unknown>> = {
    'agent.json': {
      node_name: 'srv-1',
      node_id: ids[0],
      bind_addr: '127.0.0.1',
      node_meta: { rack: 'a' },
      ports,
      disable_update_check: true,
      log_level: 'warn',
    },
    'web.json': { service: { id: 'web-1', name: 'web', tags: ['v1', 'primary'], port: 80 } },
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), JSON.stringify(content));
  writeFileSync(join(dir, 'two.hcl'), 'services {\n  name = "api"\n}\nservices {\n  id = "db-1"\n  name = "db"\n}\n');
  writeFileSync(join(dir, 'value.bin'), 'from a file\n');
  agent = spawn(process.execPath, [program, 'agent', '-dev', '-config-file', join(dir, 'agent.json')], { cwd: dir });
  for (const stream of [agent.stdout!, agent.stderr!]) stream.on('data', (data) => (agentOutput += String(data)));
  await until('/v1/status/leader', (text) => text.length > '""'.length + 1);
  await until('/v1/catalog/nodes', (text) => text.includes('srv-1'));
  for (const [i, name] of ['cli-1', 'cli-2'].entries()) {
    const address = `127.0.0.${i + 2}`;
    await put('/v1/catalog/register', {
      Node: name,
      ID: ids[i + 1],
      Address: address,
      TaggedAddresses: { lan: address, lan_ipv4: address, wan: address, wan_ipv4: address },
      NodeMeta: { 'consul-network-segment': '' },
      ...(i === 0 && { Service: { ID: 'edge-1', Service: 'edge', Address: '10.9.9.9', Port: 1 } }),
    });
  }
  // The recordings lock and release this key; here it is only there.
  await put('/v1/kv/app/lock', 3);
}

async function stop(): Promise<void> {
  if (agent !== undefined && agent.exitCode === null) {
    const ended = new Promise((resolve) => agent!.once('exit', resolve));
    agent.kill('SIGKILL');
    await ended;
  }
  if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
}

interface Outcome {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(capture: Capture): Promise<Outcome> {
  const address = `127.0.0.1:${ports['http']}`;
  const env = { PATH: process.env['PATH'], CONSUL_HTTP_ADDR: address, ...capture.env };
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [program, ...capture.argv.map((word) => word.replace('127.0.0.1:8500', address))],
      { cwd: dir, env },
      (error, stdout, stderr) =>
        resolve({
          exit: error === null ? 0 : Number(error.code),
          stdout: asRecorded(stdout),
          stderr: asRecorded(stderr),
        }),
    );
    child.stdin!.end(capture.stdin);
  });
}

/** Puts back the ports of the recordings, and hides what varies (§1.7). */
function asRecorded(text: string): string {
  let result = text;
  for (const [name, port] of Object.entries(recordedPorts))
    result = result.replaceAll(String(ports[name]), String(port));
  return withoutVariance(result);
}

/** Identifiers, times, indexes, and what a filter's parser would have liked instead (the reference's hangs on its parser generator). */
function withoutVariance(text: string): string {
  return text
    .replaceAll(/^((?:Create|Modify)Index +)\d+$/gm, '$1N')
    .replaceAll(/^( +"(?:Create|Modify)Index": )\d+/gm, '$1N')
    .replaceAll(/(ID: +)[\da-f-]{36}/g, '$1…')
    .replaceAll(/^(Created At: +).+$/gm, '$1…')
    .replaceAll(/(no match found, expected: ).*\)$/gm, '$1…)');
}

async function replay(name: string): Promise<void> {
  const capture = readCapture(name);
  expect(await run(capture)).toEqual({
    exit: capture.exit,
    stdout: withoutVariance(capture.stdout.text),
    stderr: withoutVariance(capture.stderr.text),
  });
}

const words = (text: string): string[] => text.trim().split(/\s+/);

const replayed = {
  'the key-value store': words(`
    kv-get-missing kv-get-keys-missing kv-get-recurse-missing
    kv-put kv-put-empty kv-put-stdin kv-put-file kv-put-flags kv-put-base64 kv-put-cas-fail kv-put-empty-key kv-put-acquire-badsession
    kv-get kv-get-stale kv-get-base64 kv-get-leading-slash kv-get-newline-value kv-get-bad-dc
    kv-get-detailed kv-get-keys kv-get-keys-top kv-get-keys-separator
    watch-key watch-keyprefix
    kv-get-recurse kv-get-recurse-detailed kv-export kv-export-all kv-export-missing
    kv-import kv-import-arg kv-delete-recurse kv-delete-cas-fail kv-delete-missing kv-delete`),
  locks: words(`
    lock lock-noshell lock-verbose lock-semaphore lock-child-fails lock-child-exit-code`),
  'services and the catalog': words(`
    services-register-file services-register-hcl services-register-flags
    catalog-datacenters catalog-nodes catalog-nodes-detailed catalog-nodes-filter catalog-nodes-bad-filter
    catalog-nodes-meta catalog-nodes-service catalog-nodes-service-none
    catalog-services catalog-services-tags catalog-services-node catalog-services-node-none
    maint-status maint-enable maint-status-enabled maint-service-enable maint-service-status
    maint-disable-service maint-disable maint-service-unknown
    services-deregister-file services-deregister-id services-deregister-unknown`),
  intentions: words(`
    intention-create intention-create-dup intention-create-deny intention-create-replace intention-get
    intention-match intention-match-source intention-check-allow intention-check-deny
    intention-delete intention-delete-missing intention-get-missing`),
  'config entries and operators': words(`
    config-delete config-delete-missing config-list-bad config-read-missing
    operator-raft-remove-unknown-id operator-raft-remove-unknown-address
    operator-autopilot-get operator-autopilot-set operator-autopilot-get-after`),
  'the agent': words(`
    event event-filters rtt-unknown
    members-status-none members-ssl members-https-addr monitor-bad-level force-leave-unknown reload`),
} as const;

/** Captures that are not replayed here, and why. */
const outOfScope: Readonly<Record<string, string>> = {
  'info-client': 'a client agent needs gossip',
  'services-register-client': 'a client agent needs gossip',
  'members-after-force-leave': 'three members need gossip',
  'members-after-force-leave-alive': 'three members need gossip',
  'members-after-leave': 'three members need gossip',
  'members-after-prune': 'three members need gossip',
  'members-env': 'three members need gossip',
  'members-failed': 'three members need gossip',
  'members-http-addr': 'three members need gossip',
  'members-wan': 'the WAN pool needs gossip',
  'members-wan-on-client': 'a client agent needs gossip',
  'force-leave': 'needs gossip',
  'force-leave-alive': 'needs gossip',
  'force-leave-prune': 'needs gossip',
  join: 'needs gossip',
  'join-bad': 'needs gossip',
  'join-mixed': 'needs gossip',
  'join-several': 'needs gossip',
  'join-wan': 'needs gossip',
  'info-acl-denied': 'needs ACLs',
  'kv-get-acl-denied': 'needs ACLs',
  'kv-put-acl-denied': 'needs ACLs',
  'members-acl-denied': 'needs ACLs',
  'members-token-file': 'needs ACLs',
};

/** Replayed below by tests of their own. */
const special = ['members', 'members-detailed', 'info-server', 'leave', 'lock-timeout', 'catalog-nodes-near'];
/** With a session of their own in place of the recorded one, in this order. */
const withSession = ['kv-put-acquire', 'kv-put-release', 'kv-put-release-again', 'kv-get-detailed-locked'];
/** Replayed in cli.test.ts beside its list. */
const otherForm = ['version', 'version-v', 'version-flag', 'version-json', 'double-dash-flag', 'keygen'];

test('every recorded command line is replayed, or has a reason not to be', () => {
  const all = readdirSync(captureDir).map((file) => file.replace(/\.txt$/, ''));
  const known = [
    ...Object.values(replayed).flat(),
    ...Object.keys(outOfScope),
    ...special,
    ...withSession,
    ...otherForm,
    ...withoutAgent,
  ];
  expect(known.toSorted()).toEqual(all.toSorted());
});

describe.skipIf(!built)('as recorded, with an agent', () => {
  beforeAll(start);
  afterAll(stop);

  test(`a key is locked and released: ${withSession.join(', ')}`, async () => {
    const { ID } = (await put('/v1/session/create', {})) as { ID: string };
    for (const name of withSession) {
      const capture = readCapture(name);
      const argv = capture.argv.map((word) => word.replace(/(?<=-session=).*/, ID));
      expect(await run({ ...capture, argv })).toEqual({
        exit: capture.exit,
        stdout: withoutVariance(capture.stdout.text),
        stderr: capture.stderr.text,
      });
    }
  });

  describe.each(Object.entries(replayed))('%s', (_, names) => {
    test.each(names)('%s', replay);
  });

  test('lock-timeout: while another holds the lock', async () => {
    const { ID } = (await put('/v1/session/create', {})) as { ID: string };
    // The flags of a lock, as every client of the reference's library sets them.
    await put(`/v1/kv/locks/busy/.lock?acquire=${ID}&flags=3304740253564472344`, '');
    await replay('lock-timeout');
  });

  // Nodes without coordinates come last, and this agent reports its own some time after its start.
  test('catalog-nodes-near: the same nodes', async () => {
    const capture = readCapture('catalog-nodes-near');
    const outcome = await run(capture);
    const lines = (text: string): string[] => text.split('\n').toSorted();
    expect({ exit: outcome.exit, lines: lines(outcome.stdout), stderr: outcome.stderr }).toEqual({
      exit: capture.exit,
      lines: lines(capture.stdout.text),
      stderr: '',
    });
  });

  // The other two members of the recording are missing, so are the tags of what a dev server does not do: bootstrap
  // (it is elected by itself) and federation states. Ports of five digits widen a column.
  test.each(['members', 'members-detailed'])('%s: the line of this agent', async (name) => {
    const capture = readCapture(name);
    const outcome = await run(capture);
    expect({ ...outcome, stdout: undefined }).toEqual({ exit: 0, stdout: undefined, stderr: '' });
    const cells = (text: string): string[][] =>
      text
        .split('\n')
        .filter((line) => /^(Node|srv-1) /.test(line))
        .map((line) => line.replaceAll(/,?\b(bootstrap|ft_fs)=1\b/g, '').replace(/(build=1\.8\.7:)\w*/, '$1'))
        .map((line) => line.split(/ {2,}/));
    expect(cells(outcome.stdout)).toEqual(cells(capture.stdout.text));
  });

  test('info-server: the same sections and names', async () => {
    const capture = readCapture('info-server');
    const outcome = await run(capture);
    const names = (text: string): string[] => text.split('\n').map((line) => line.replace(/ = .*$/, ''));
    expect(names(outcome.stdout)).toEqual(names(capture.stdout.text));
  });

  test('leave: the agent ends', async () => {
    const ended = new Promise((resolve) => agent!.once('exit', resolve));
    const { argv: _, ...capture } = readCapture('leave');
    expect(await run({ ...capture, argv: ['leave'] })).toEqual({
      exit: capture.exit,
      stdout: capture.stdout.text,
      stderr: '',
    });
    expect(await ended).toBe(0);
  });
});
