// Replays recorded command lines of the real program with the built program, against an agent of its own, with the
// other two nodes of the recorded cluster registered as external ones. In the order of the recordings, for each finds
// what those before it left. cli-acl.test.ts does the same with ACLs, cli-pool.test.ts with a pool of three.
import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aclCaptures } from './cli-acl-captures.ts';
import { poolCaptures } from './cli-pool-captures.ts';
import { captureDir, readCapture, withoutAgent } from './cli-capture.ts';
import { built, RecordedAgent, recordedOutcome } from './recorded-agent.ts';

if (!built) console.log('golden/cli-agent: skipped, dist/portolan.js is not built (npm run build)');

let agent: RecordedAgent;

async function start(): Promise<void> {
  agent = await RecordedAgent.start({ disable_remote_exec: false });
  agent.write({
    'web.json': JSON.stringify({ service: { id: 'web-1', name: 'web', tags: ['v1', 'primary'], port: 80 } }),
    'two.hcl': 'services {\n  name = "api"\n}\nservices {\n  id = "db-1"\n  name = "db"\n  port = 9002\n}\n',
    'value.bin': 'from a file\n',
    'ca.json': JSON.stringify({ Provider: 'consul', Config: { LeafCertTTL: '72h' } }),
  });
  await agent.untilRegistered();
  for (const [i, name] of ['cli-1', 'cli-2'].entries()) {
    const address = `127.0.0.${i + 2}`;
    await agent.put('/v1/catalog/register', {
      Node: name,
      ID: '11111111-1111-1111-1111-111111111111'.replaceAll('1', String(i + 2)),
      Address: address,
      TaggedAddresses: { lan: address, lan_ipv4: address, wan: address, wan_ipv4: address },
      NodeMeta: { 'consul-network-segment': '' },
      ...(i === 0 && { Service: { ID: 'edge-1', Service: 'edge', Address: '10.9.9.9', Port: 1 } }),
    });
  }
  // The recordings lock and release this key; here it is only there.
  await agent.put('/v1/kv/app/lock', 3);
}

async function replay(name: string): Promise<void> {
  const capture = readCapture(name);
  expect(await agent.run(capture)).toEqual(recordedOutcome(capture));
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
    services-deregister-file services-deregister-id services-deregister-unknown
    watch-services watch-nodes watch-handler watch-args watch-handler-fails`),
  intentions: words(`
    intention-create intention-create-dup intention-create-deny intention-create-replace intention-get
    intention-match intention-match-source intention-check-allow intention-check-deny
    intention-delete intention-delete-missing intention-get-missing`),
  'config entries and the mesh': words(`
    config-write config-write-hcl config-read config-list config-list-bad config-read-missing
    connect-ca-get-config connect-ca-set-config connect-envoy-bootstrap-noproxy
    config-delete config-delete-missing config-delete-http-addr connect-expose`),
  'remote execution': words(`
    exec exec-fail-code exec-no-nodes exec-noshell exec-verbose`),
  certificates: words(`
    tls-ca-create tls-ca-create-again tls-cert-create-client tls-cert-create-cli`),
  'files of snapshots': words(`
    snapshot-inspect-bad snapshot-inspect-missing snapshot-restore-bad`),
  operators: words(`
    operator-raft-remove-unknown-id operator-raft-remove-unknown-address
    operator-autopilot-get operator-autopilot-set operator-autopilot-get-after`),
  'the agent': words(`
    event watch-event event-filters rtt-unknown debug-bad-capture
    members-status-none members-ssl members-https-addr monitor-bad-level force-leave-unknown reload`),
} as const;

/** Captures that are not replayed here, and why. */
const outOfScope: Readonly<Record<string, string>> = {
  'agent-bad-node-id': 'what it logs hangs on the program',
  'agent-client-lifecycle': 'what it logs hangs on the program',
  'agent-join-fails': 'what it logs hangs on the program',
  'agent-retry-max': 'what it logs hangs on the program',
  'agent-server-sigint': 'what it logs hangs on the program',
  'agent-dev-json': 'what it logs hangs on the program',
  'agent-bad-service': 'what it logs hangs on the program',
};

/** Replayed below by tests of their own. */
const special = words(`
  members members-detailed info-server leave lock-timeout catalog-nodes-near
  operator-raft-list-peers operator-raft-list-peers-stale tls-cert-create-server watch-checks watch-service
  snapshot-save snapshot-inspect snapshot-restore`);
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
    ...aclCaptures,
    ...poolCaptures,
  ];
  expect(known.toSorted()).toEqual(all.toSorted());
});

describe.skipIf(!built)('as recorded, with an agent', () => {
  beforeAll(start);
  afterAll(() => agent?.stop());

  test(`a key is locked and released: ${withSession.join(', ')}`, async () => {
    const { ID } = (await agent.put('/v1/session/create', {})) as { ID: string };
    for (const name of withSession) {
      const capture = readCapture(name);
      const argv = capture.argv.map((word) => word.replace(/(?<=-session=).*/, ID));
      expect(await agent.run({ ...capture, argv })).toEqual(recordedOutcome(capture));
    }
  });

  describe.each(Object.entries(replayed))('%s', (_, names) => {
    test.each(names)('%s', replay);
  });

  test('lock-timeout: while another holds the lock', async () => {
    const { ID } = (await agent.put('/v1/session/create', {})) as { ID: string };
    // The flags of a lock, as every client of the reference's library sets them.
    await agent.put(`/v1/kv/locks/busy/.lock?acquire=${ID}&flags=3304740253564472344`, '');
    await replay('lock-timeout');
  });

  // Nodes without coordinates come last, and this agent reports its own some time after its start.
  test('catalog-nodes-near: the same nodes', async () => {
    const capture = readCapture('catalog-nodes-near');
    const outcome = await agent.run(capture);
    const lines = (text: string): string[] => text.split('\n').toSorted();
    expect({ exit: outcome.exit, lines: lines(outcome.stdout), stderr: outcome.stderr }).toEqual({
      exit: capture.exit,
      lines: lines(capture.stdout.text),
      stderr: '',
    });
  });

  // The other two members of the recording are missing, so are the tags of what a dev server does not do: bootstrap
  // (it is elected by itself) and federation states. Ports of five digits widen a column.
  test.each(['members', 'members-detailed', 'operator-raft-list-peers', 'operator-raft-list-peers-stale'])(
    '%s: the line of this agent',
    async (name) => {
      const capture = readCapture(name);
      const outcome = await agent.run(capture);
      expect({ ...outcome, stdout: undefined }).toEqual({ exit: 0, stdout: undefined, stderr: '' });
      const cells = (text: string): string[][] =>
        text
          .split('\n')
          .filter((line) => /^(Node|srv-1) /.test(line))
          .map((line) => line.replaceAll(/,?\b(bootstrap|ft_fs)=1\b/g, '').replace(/(build=1\.8\.7:)\w*/, '$1'))
          .map((line) => line.split(/ {2,}/));
      expect(cells(outcome.stdout)).toEqual(cells(capture.stdout.text));
    },
  );

  test('info-server: the same sections and names', async () => {
    const capture = readCapture('info-server');
    const outcome = await agent.run(capture);
    const names = (text: string): string[] => text.split('\n').map((line) => line.replace(/ = .*$/, ''));
    expect(names(outcome.stdout)).toEqual(names(capture.stdout.text));
  });

  // Which state it is, when and how large, is this agent's.
  test.each(['snapshot-save', 'snapshot-inspect', 'snapshot-restore'])(
    '%s: the same but for its numbers',
    async (name) => {
      const capture = readCapture(name);
      const { stdout, ...rest } = await agent.run(capture);
      expect(rest).toEqual({ exit: 0, stderr: '' });
      const shape = (text: string): string => text.replaceAll(/\d+/g, '0').replaceAll(/ +$/gm, '');
      expect(shape(stdout)).toBe(shape(capture.stdout.text));
    },
  );

  // The warning is ours.
  test('tls-cert-create-server: the files are said', async () => {
    const capture = readCapture('tls-cert-create-server');
    const { stdout, ...rest } = await agent.run(capture);
    expect(rest).toEqual({ exit: 0, stderr: '' });
    expect(stdout).toMatch(/^==> WARNING: /);
    const files = stdout.slice(stdout.indexOf('==> Using'));
    expect(files.trimEnd()).toBe(capture.stdout.text.replace('<four-line warning omitted>\n', '').trimEnd());
  });

  // The other two members and their health are missing.
  test.each(['watch-checks', 'watch-service'])('%s: what concerns this node', async (name) => {
    const capture = readCapture(name);
    const { exit, stdout, stderr } = await agent.run(capture);
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    const ofThisNode = (text: string): unknown[] =>
      (
        JSON.parse(text.replaceAll(/": N,?$/gm, (end) => end.replace('N', '0'))) as {
          Node: string | { Node: string };
        }[]
      ).filter(({ Node }) => (typeof Node === 'string' ? Node : Node.Node) === 'srv-1');
    expect(ofThisNode(stdout)).toEqual(ofThisNode(recordedOutcome(capture).stdout));
  });

  test('leave: the agent ends', async () => {
    const ended = new Promise((resolve) => agent.process.once('exit', resolve));
    const { argv: _, ...capture } = readCapture('leave');
    expect(await agent.run({ ...capture, argv: ['leave'] })).toEqual({
      exit: capture.exit,
      stdout: capture.stdout.text,
      stderr: '',
    });
    expect(await ended).toBe(0);
  });
});
