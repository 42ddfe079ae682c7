// The command line of the real Consul 1.8.7, pointed at the real agent and at Portolan in turn: the same words print
// the same text and end with the same code, up to what differs between any two agents (identifiers, indexes, times).
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AgentProcess } from '../helpers/agent-process.ts';
import { describeWith, realConsul } from './support/clients.ts';
import { Program } from './support/program.ts';
import { waitUntil } from '../helpers/wait.ts';

/** Longest run of one command (ms). */
const commandLimitMs = 30_000;
/** Longest time until an agent has told the servers about itself (ms): two intervals of its reports. */
const listedLimitMs = 60_000;
const nodeId = '11111111-2222-3333-4444-555555555555';

/** One command line; its words after the program's name. `$x` stands for what an earlier step remembered. */
interface Step {
  readonly words: readonly string[];
  readonly stdin?: string;
  /** Remembers the first group of a pattern of the output under a name. */
  readonly remember?: readonly [name: string, pattern: RegExp];
  /** The order of lines or blocks hangs on random identifiers. */
  readonly anyOrder?: boolean;
  /** A pattern whose matches differ between two agents of the same kind. */
  readonly varies?: RegExp;
  /** Both agents give a list that is not empty here first; some things take their time. */
  readonly whenListed?: string;
  /** Both agents get this over HTTP first, for what no command can do. */
  readonly put?: readonly [path: string, body: unknown];
}

const words = (line: string): string[] =>
  [...line.matchAll(/(?:'[^']*'|[^\s'])+/g)].map(([word]) => word.replaceAll("'", ''));
const step = (line: string, more: Omit<Step, 'words'> = {}): Step => ({ words: words(line), ...more });
const steps = (lines: string): Step[] =>
  lines
    .trim()
    .split('\n')
    .map((line) => step(line.trim()));

interface Outcome {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** An agent and the client program that talks to it. */
class Side {
  readonly agent: AgentProcess;
  readonly port: number;
  readonly cwd: string;
  readonly #cli: string;
  readonly #known = new Map<string, string>();

  constructor(cli: string, kind: 'portolan' | 'consul', port: number, args: readonly string[]) {
    this.#cli = cli;
    this.#known.set('lanPort', String(port + 3));
    this.port = port;
    this.cwd = mkdtempSync(join(tmpdir(), `portolan-cli-${kind}-`));
    this.agent = new AgentProcess({
      ports: { http: port, dns: port + 1 },
      ...(kind === 'consul' && { program: cli }),
      args: [
        `-server-port=${port + 2}`,
        `-serf-lan-port=${port + 3}`,
        `-serf-wan-port=${port + 4}`,
        '-node=n1',
        `-node-id=${nodeId}`,
        '-bind=127.0.0.1',
        '-hcl=disable_update_check = true',
        '-hcl=disable_remote_exec = false',
        ...(kind === 'portolan' ? ['-registrator=false'] : []),
        ...args,
      ],
    });
  }

  run({ words: given, stdin = '', remember, anyOrder = false, varies }: Step): Promise<Outcome> {
    const argv = given.map((word) => word.replaceAll(/\$(\w+)/g, (all, name: string) => this.#known.get(name) ?? all));
    const env = {
      PATH: process.env['PATH'],
      HOME: this.cwd,
      SHELL: '/bin/sh',
      CONSUL_HTTP_ADDR: `127.0.0.1:${this.port}`,
      ...(this.#known.has('management') && { CONSUL_HTTP_TOKEN: this.#known.get('management') }),
    };
    return new Promise((done) => {
      const child = execFile(
        this.#cli,
        argv,
        { cwd: this.cwd, env, timeout: commandLimitMs },
        (error, stdout, stderr) => {
          if (remember !== undefined) {
            const found = remember[1].exec(stdout)?.[1];
            if (found !== undefined) this.#known.set(remember[0], found);
          }
          const shown = (text: string): string => this.#withoutVariance(text, anyOrder, varies);
          const code = error === null ? 0 : Number(error.code ?? -1);
          done({ exit: code, stdout: shown(stdout), stderr: shown(stderr) });
        },
      );
      // Who reads nothing may have ended by now.
      child.stdin!.on('error', () => undefined);
      child.stdin!.end(stdin);
    });
  }

  start(): Promise<void> {
    return this.agent.start();
  }

  async close(): Promise<void> {
    await this.agent.close();
    rmSync(this.cwd, { recursive: true, force: true });
  }

  #withoutVariance(text: string, anyOrder: boolean, varies: RegExp | undefined): string {
    let shown = text;
    for (const [at, name] of ['http', 'dns', 'server', 'lan', 'wan'].entries()) {
      shown = shown.replaceAll(String(this.port + at), `<${name}>`);
    }
    shown = shown
      .replaceAll(nodeId, '<node>')
      .replaceAll(/(reset index: )\d+/g, '$1<n>')
      .replaceAll(/[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}/g, '<id>')
      .replaceAll(/((?:Create|Modify|Raft)? ?Index(?:"?:)? +)\d+/g, '$1<n>')
      .replaceAll(/[A-Z][a-z]+day, \d\d-[A-Z][a-z]{2}-\d\d [\d:]+ UTC/g, '<time>')
      .replaceAll(/\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z| ?[+-]\d\d:?\d\d)?(?: [A-Z]{3,4})?/g, '<time>')
      .replaceAll(/("(?:Create|Modify)Index": )\d+/g, '$1<n>');
    if (varies !== undefined) shown = shown.replaceAll(varies, '<varies>');
    if (!anyOrder) return shown;
    return shown
      .split(/\n\n/)
      .map((block) => block.split('\n').filter(Boolean).toSorted().join('\n'))
      .filter(Boolean)
      .toSorted()
      .join('\n\n');
  }
}

/** What the commands of each story find and leave; each story runs on agents that the ones before it have used. */
const stories: Readonly<Record<string, readonly Step[]>> = {
  version: steps('version'),
  kv: [
    ...steps(`
      kv get none
      kv put a/b one
      kv put a/b two
      kv put a/empty
      kv put -flags=18446744073709551615 a/flags 3
      kv put -base64 a/base64 aGVsbG8=
      kv put -cas -modify-index=1 a/b three
      kv get a/b
      kv get -base64 a/b
      kv get -detailed a/flags
      kv get -keys a/
      kv get -keys -separator= a
      kv get -recurse a
      kv get -recurse -detailed a
      kv get -recurse none
      kv get -stale a/b
      kv get -datacenter=nowhere a/b
      kv export a/
      kv export none`),
    step('kv put a/stdin -', { stdin: 'from stdin\n' }),
    step('kv import -', { stdin: '[{"key":"i/one","flags":7,"value":"MQ=="},{"key":"i/two","value":""}]' }),
    ...steps(`
      kv import nonsense
      kv get -recurse i/
      kv delete -cas -modify-index=1 i/one
      kv delete i/one
      kv delete i/one
      kv delete -recurse i/
      kv delete -recurse none
      kv get -recurse i/
      kv put -acquire -session=11111111-1111-1111-1111-111111111111 a/lock 1`),
  ],
  'sessions and locks': [
    step('kv put held free', { put: ['/v1/kv/held', 'x'] }),
    ...steps(`
      lock demo 'echo in the lock'
      lock -shell=false demo echo plain
      lock -n=2 -name=semaphore demo2 'echo one of two'
      lock -child-exit-code demo 'exit 3'
      lock -verbose demo 'echo $CONSUL_LOCK_HELD'
      kv get -keys demo`),
  ],
  services: [
    ...steps(`
      services register -name=web -id=web-1 -port=80 -tag=v1 -tag=v2 -meta=a=b -tagged-address=lan=192.0.2.1:81
      services register -name=web -id=web-2 -port=81
      services register two.hcl
      services register two.json
      services register none.hcl
      services register
      catalog datacenters
      catalog services
      catalog services -tags
      catalog services -node=n1
      catalog services -node=nowhere
      catalog services -node-meta=rack=x
      catalog nodes
      catalog nodes -detailed
      catalog nodes -service=web
      catalog nodes -service=nowhere
      catalog nodes -filter=Node==n1
      catalog nodes -filter=Nonsense==n1
      catalog nodes -near=n1
      catalog nodes -near=_agent
      catalog nodes -node-meta=rack=x`),
    ...steps(`
      maint
      maint -enable -reason=because
      maint
      maint -enable -service=web-1 -reason=tired
      maint
      maint -disable -service=web-1
      maint -enable -service=nowhere
      maint -disable
      maint`).map((each) => ({ ...each, anyOrder: true })),
    ...steps(`
      services deregister -id=web-2
      services deregister -id=nowhere
      services deregister two.hcl
      services deregister
      catalog services`),
  ],
  watch: [
    ...steps(`
      kv put w/a 1
      watch -type=key -key=w/a
      watch -type=key -key=none
      watch -type=keyprefix -prefix=w/
      watch -type=keyprefix -prefix=none
      watch -type=nodes
      watch -type=service -service=web
      watch -type=service -service=web -tag=v1
      watch -type=service -service=web -passingonly=true
      watch -type=service -service=nowhere
      watch -type=checks -state=passing
      watch -type=checks -service=web
      watch -type=event -name=none
      watch -type=nonsense`),
    // Its lists of tags have no order, not even twice in one program.
    step('watch -type=services', { varies: /"v[12]",?/g }),
    step('watch -type=key -key=w/a -shell=false none-such-program'),
  ],
  events: [
    step('event -name=deploy v2', { varies: /ID: .*/g }),
    step('event -name=deploy -node=n1 -service=web -tag=v1 v3', { varies: /ID: .*/g }),
    step('event -name=deploy -node=('),
    step('event'),
    step('watch -type=event -name=deploy', { varies: /"LTime": ?\d+/g }),
  ],
  exec: [
    step("exec -wait=1s 'echo hello; exit 0'", { anyOrder: true }),
    step("exec -wait=1s 'exit 4'"),
    step("exec -wait=1s -node=nowhere 'echo never'"),
    step('exec -wait=1s -service=consul -', { anyOrder: true, stdin: 'echo from a script' }),
    step('exec'),
    step('kv get -keys _rexec'),
  ],
  'config entries': [
    step('config write -', { stdin: 'Kind = "service-defaults"\nName = "web"\nProtocol = "http"\n' }),
    step('config write -', {
      stdin:
        '{"Kind": "service-resolver", "Name": "web", "DefaultSubset": "v1", "Subsets": {"v1": {"Filter": "Service.Meta.v == 1"}}}',
    }),
    step('config write -', { stdin: 'Kind = "proxy-defaults"\nName = "global"\nConfig { a = 1 }\n' }),
    step('config write -', { stdin: 'Kind = "nonsense"\nName = "web"\n' }),
    step('config write -', { stdin: 'Kind = "service-splitter"\nName = "web"\nSplits = []\n' }),
    step('config write -', { stdin: 'Kind = "service-router"\nName = "tcp-only"\n' }),
    step('config write -', { stdin: 'nonsense' }),
    step('config write -cas -modify-index=1 -', { stdin: 'Kind = "service-defaults"\nName = "web"\n' }),
    ...steps(`
      config read -kind=service-defaults -name=web
      config read -kind=service-resolver -name=web
      config read -kind=proxy-defaults -name=global
      config read -kind=service-defaults -name=nowhere
      config read -kind=service-defaults
      config read
      config list -kind=service-defaults
      config list -kind=nonsense
      config list
      config delete -kind=service-resolver -name=web
      config delete -kind=service-resolver -name=web
      config delete -kind=service-defaults -name=web
      config delete
      config list -kind=service-defaults`),
  ],
  intentions: [
    ...steps(`
      intention create a b
      intention create a b
      intention create -replace -deny a b
      intention create -deny -meta=k=v '*' b
      intention create -allow -deny a c
      intention create a
      intention check a b
      intention check c b
      intention check x y
      intention get a b
      intention get nowhere b
      intention match b
      intention match -source a
      intention match -source -destination a
      intention match nowhere
      intention delete a b
      intention delete a b
      intention delete '*' b`),
    step('intention create -file two.json'),
  ],
  'connect ca': [
    step('connect ca get-config', { varies: /"(?:PrivateKey|RootCert)": "[^"]*"/g }),
    step('connect ca set-config -config-file=ca.json'),
    step('connect ca get-config', { varies: /"(?:PrivateKey|RootCert)": "[^"]*"/g }),
    step('connect ca set-config -config-file=bad-ca.json'),
    step('connect ca set-config'),
    step('connect expose -service=web -ingress-gateway=gate -port=8888'),
    step('connect expose -service=web -ingress-gateway=gate -port=8888 -protocol=http'),
    step('config read -kind=ingress-gateway -name=gate'),
  ],
  operator: [
    ...steps(`
      operator raft list-peers
      operator raft list-peers -stale
      operator raft remove-peer -id=nowhere
      operator raft remove-peer -address=127.0.0.9:8300
      operator raft remove-peer
      operator autopilot get-config
      operator autopilot set-config -cleanup-dead-servers=false -max-trailing-logs=300 -last-contact-threshold=300ms -server-stabilization-time=11s -min-quorum=2
      operator autopilot get-config
      operator autopilot set-config -last-contact-threshold=nonsense
      operator area list`),
  ],
  members: [
    step('members'),
    step('members -detailed', { varies: /build=1\.8\.7:\w*/g }),
    step('members -wan'),
    step('members -status=left'),
    step('members -status=('),
    step('members -segment=nowhere'),
    step('force-leave nowhere'),
    step('force-leave -prune nowhere'),
    step('force-leave'),
    step('join 127.0.0.1:1'),
    step('join 127.0.0.1:$lanPort'),
    step('join'),
    step('rtt n1', { whenListed: '/v1/coordinate/nodes' }),
    step('rtt n1 nowhere'),
    step('rtt'),
    step('info', { varies: / = .*/g }),
    step('reload'),
    step('monitor -log-level=nonsense'),
    step('keyring -list'),
    step('keyring'),
  ],
  snapshots: [
    step('kv put kept before'),
    step('snapshot save backup.snap', { varies: /index \d+/g }),
    step('snapshot inspect backup.snap', { varies: /(?:ID|Size|Index|Term) +\S+/g }),
    step('kv put kept after'),
    step('snapshot restore backup.snap'),
    step('kv get kept'),
    step('snapshot restore ca.json'),
    step('snapshot restore none.snap'),
    step('snapshot inspect ca.json'),
  ],
  validate: steps(`
    validate two.hcl
    validate none.hcl`),
  acl: steps(`
    acl policy list
    acl token list
    acl bootstrap
    login -method=none -bearer-token-file=two.hcl -token-sink-file=sink
    logout`),
};

/** With access control on and nothing allowed by default. */
const aclStories: Readonly<Record<string, readonly Step[]>> = {
  'before the bootstrap': steps(`
    acl policy list
    kv get a
    kv put a b
    catalog nodes
    members
    info
    operator raft list-peers
    event -name=x
    services register -name=web
    intention create a b
    config list -kind=service-defaults
    snapshot save denied.snap
    keyring -list
    force-leave n2
    join 127.0.0.2
    leave
    maint -enable
    reload`),
  bootstrap: [step('acl bootstrap', { remember: ['management', /SecretID: +(\S+)/] }), step('acl bootstrap')],
  policies: [
    step("acl policy create -name=reader -description='reads all' -rules=@reader.hcl", {
      remember: ['policy', /^ID: +(\S+)/m],
    }),
    step('acl policy create -name=reader -rules=@reader.hcl'),
    step('acl policy create -name=bad -rules=nonsense'),
    step('acl policy create -name=dc -valid-datacenter=dc1 -rules=@reader.hcl -format=json', {
      varies: /"Hash": "[^"]*"/g,
    }),
    step('acl policy create'),
    step('acl policy read -name=reader'),
    step('acl policy read -id=$policy -meta', { varies: /Hash: .*/g }),
    step('acl policy read -name=nowhere'),
    step('acl policy read -id=00000000-0000-0000-0000-000000000001'),
    step('acl policy update -id=$policy -description=new'),
    step('acl policy update -id=$policy -no-merge -name=reader2'),
    step('acl policy update -id=00000000-0000-0000-0000-000000000001 -rules=@reader.hcl'),
    step('acl policy list', { anyOrder: true }),
    step('acl policy list -format=json', { varies: /"Hash": "[^"]*"|[{}[\],]/g, anyOrder: true }),
    step('acl policy delete -name=dc'),
    step('acl policy delete -name=nowhere'),
    step('acl policy delete -id=00000000-0000-0000-0000-000000000001'),
    step('acl translate-rules \'key "" { policy = "read" }\''),
    step('acl translate-rules nonsense'),
  ],
  roles: [
    step('acl role create -name=ops -policy-name=reader2 -service-identity=web:dc1 -node-identity=n1:dc1', {
      remember: ['role', /^ID: +(\S+)/m],
    }),
    step('acl role create -name=ops -policy-name=reader2'),
    step('acl role create -name=none'),
    step('acl role create -name=bad -policy-name=nowhere'),
    step('acl role read -name=ops'),
    step('acl role read -id=$role -meta', { varies: /Hash: .*/g }),
    step('acl role read -name=nowhere'),
    step('acl role update -id=$role -description=new -service-identity=db'),
    step('acl role update -id=$role -no-merge -name=ops2 -policy-id=$policy'),
    step(
      'acl role create -name=twice -service-identity=web:dc1 -service-identity=db:dc1 -service-identity=web:dc2,dc0 -service-identity=db -node-identity=n2:dc1 -node-identity=n1:dc2 -node-identity=n2:dc1',
    ),
    step('acl role list', { anyOrder: true }),
    step('acl role delete -name=nowhere'),
  ],
  tokens: [
    step('acl token create -description=mine -policy-name=reader2 -role-name=ops2 -service-identity=web', {
      remember: ['token', /AccessorID: +(\S+)/],
    }),
    step(
      'acl token create -policy-name=reader2 -accessor=aaaaaaaa-0000-0000-0000-000000000001 -secret=aaaaaaaa-0000-0000-0000-000000000002 -local',
    ),
    step('acl token create -policy-name=nowhere'),
    step('acl token create'),
    step('acl token create -policy-name=reader2 -expires-ttl=1h', { varies: /<time>.*/g }),
    step('acl token read -id=$token'),
    step('acl token read -id=$token -meta', { varies: /Hash: .*/g }),
    step('acl token read -self'),
    step('acl token read -id=aaaaaaaa'),
    step('acl token read -id=ffffffff'),
    step('acl token read -id=$token -format=json', { varies: /"Hash": "[^"]*"/g }),
    step('acl token update -id=$token -description=new -merge-policies -merge-roles'),
    step('acl token update -id=$token -policy-name=reader2 -node-identity=n1:dc1'),
    step('acl token clone -id=$token -description=copy'),
    step('acl token list', { anyOrder: true, varies: /<time>.*/g }),
    step('acl token delete -id=aaaaaaaa-0000-0000-0000-000000000001'),
    step('acl token delete -id=ffffffff-0000-0000-0000-000000000001'),
    step('acl token delete -id=00000000-0000-0000-0000-000000000002'),
    step('acl set-agent-token default aaaaaaaa-0000-0000-0000-000000000002'),
    step('acl set-agent-token nonsense aaaaaaaa-0000-0000-0000-000000000002'),
    step('acl policy create -name=reader -rules=@reader.hcl -token=aaaaaaaa-0000-0000-0000-000000000003'),
  ],
  'auth methods': [
    step('acl auth-method create -name=jwt -type=jwt -description=d -config=@jwt.json -max-token-ttl=5m'),
    step('acl auth-method create -name=jwt -type=jwt -config=@jwt.json'),
    step('acl auth-method create -name=bad -type=nonsense'),
    step('acl auth-method create -name=bad -type=jwt'),
    step('acl auth-method create'),
    step('acl auth-method read -name=jwt'),
    step('acl auth-method read -name=jwt -format=json', { varies: /<time>/g }),
    step('acl auth-method read -name=nowhere'),
    step('acl auth-method update -name=jwt -display-name=JWT'),
    step('acl auth-method list'),
    step('acl auth-method list -format=json'),
    step("acl binding-rule create -method=jwt -bind-type=service -bind-name=web -selector='value.name==x'", {
      remember: ['rule', /^ID: +(\S+)/m],
    }),
    step('acl binding-rule create -method=nowhere -bind-name=web'),
    step("acl binding-rule create -method=jwt -bind-name=web -selector='nonsense==x'"),
    step('acl binding-rule read -id=$rule'),
    step('acl binding-rule read -id=ffffffff-0000-0000-0000-000000000001'),
    step('acl binding-rule update -id=$rule -bind-type=role -bind-name=ops2'),
    step('acl binding-rule list'),
    step('acl binding-rule list -method=jwt -format=json'),
    step('login -method=jwt -bearer-token-file=two.hcl -token-sink-file=sink'),
    step('login -method=nowhere -bearer-token-file=two.hcl -token-sink-file=sink'),
    step('acl binding-rule delete -id=$rule'),
    step('acl auth-method delete -name=jwt'),
    step('acl auth-method delete -name=jwt'),
    step('logout'),
  ],
  'with a token that may read': steps(`
    kv get -token=aaaaaaaa-0000-0000-0000-000000000002 a
    kv put -token=$management a 1
    kv get -token=$management a
    kv get -token=anonymous a
    members
    info -token=ffffffff-0000-0000-0000-000000000009
    catalog nodes -token=ffffffff-0000-0000-0000-000000000009
    acl role delete -id=$role
    acl token delete -id=$token`).map((each) => (each.words[0] === 'info' ? { ...each, varies: / = .*/g } : each)),
};

const keys = ['pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=', 'cg8StVXbQJ0gPvMd9o7yrg=='];
const keyringStories: Readonly<Record<string, readonly Step[]>> = {
  keyring: steps(`
    keyring -list
    keyring -install=${keys[1]}
    keyring -list
    keyring -use=${keys[1]}
    keyring -remove=${keys[1]}
    keyring -remove=${keys[0]}
    keyring -list
    keyring -install=nonsense
    keyring -use=${keys[0]}
    keyring -list -local-only
    keyring -list-primary
    keyring -list -relay-factor=9`).map((each) => ({ ...each, anyOrder: true })),
};

const files: Readonly<Record<string, string>> = {
  'two.hcl': 'services {\n  name = "api"\n  port = 1\n}\nservices {\n  id = "db-1"\n  name = "db"\n}\n',
  'two.json': '{"service": {"name": "json", "checks": [{"ttl": "1h", "status": "passing"}]}}',
  'ca.json': '{"Provider": "consul", "Config": {"LeafCertTTL": "36h", "RotationPeriod": "2160h"}}',
  'bad-ca.json': '{"Provider": "nonsense", "Config": {}}',
  'reader.hcl': 'key_prefix "" {\n  policy = "read"\n}\nnode_prefix "" {\n  policy = "read"\n}\n',
  'jwt.json': JSON.stringify({
    JWTValidationPubKeys: [
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'pem' }),
    ],
    ClaimMappings: { name: 'name' },
  }),
};

describeWith('the real command line', { 'consul 1.8.7': realConsul() }, ({ 'consul 1.8.7': cli }) => {
  describe.each([
    ['an agent', 23_200, [], stories],
    ['an agent with access control', 23_220, ['-hcl=acl { enabled = true, default_policy = "deny" }'], aclStories],
    ['an agent with encrypted gossip', 23_240, [`-encrypt=${keys[0]}`], keyringStories],
  ] as const)('%s', (_, port, args, told) => {
    const sides = [new Side(cli, 'consul', port, args), new Side(cli, 'portolan', port + 10, args)] as const;

    beforeAll(async () => {
      for (const side of sides) {
        for (const [name, text] of Object.entries(files)) writeFileSync(join(side.cwd, name), text);
      }
      await Promise.all(sides.map((side) => side.start()));
    });
    afterAll(() => Promise.all(sides.map((side) => side.close())));

    test.each(Object.entries(told))('%s', async (__, list) => {
      for (const each of list) {
        const { whenListed } = each;
        if (whenListed !== undefined) {
          await waitUntil(
            `something in ${whenListed}`,
            async () => {
              const answers = await Promise.all(sides.map(({ agent }) => agent.get(whenListed)));
              return answers.every(({ json }) => Array.isArray(json) && json.length > 0);
            },
            listedLimitMs,
          );
        }
        if (each.put !== undefined) {
          const [path, body] = each.put;
          await Promise.all(sides.map(({ agent }) => agent.request('PUT', path, body)));
        }
        const [expected, ours] = await Promise.all(sides.map((side) => side.run(each)));
        expect.soft(ours, `consul ${each.words.join(' ')}`).toEqual(expected);
      }
    });
  });

  describe('what the real agent of this build cannot show', () => {
    const side = new Side(cli, 'portolan', 23_260, []);
    beforeAll(() => side.start());
    afterAll(() => side.close());

    // This build's own agent answers gzip-labelled plain text here, which its own client refuses.
    test('monitor prints what the agent logs', async () => {
      const env = { ...process.env, CONSUL_HTTP_ADDR: `127.0.0.1:${side.port}` };
      const monitor = new Program({ path: cli, env }, ['monitor', '-log-level=debug'], side.cwd);
      try {
        await waitUntil(
          () => `a line of the log\n${monitor.log}`,
          async () => {
            await side.agent.get('/v1/agent/self');
            return monitor.log.includes('[DEBUG]');
          },
        );
      } finally {
        await monitor.close();
      }
    });

    test('leave ends the agent', async () => {
      expect(await side.run({ words: ['leave'] })).toEqual({
        exit: 0,
        stdout: 'Graceful leave complete\n',
        stderr: '',
      });
      expect(await side.agent.end('SIGCONT')).toBe(0);
    });
  });
});
