import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Config, ConfigHost } from '../../../src/config/index.ts';
import {
  agentFlags,
  ConfigError,
  configFormatOf,
  debugConfig,
  loadConfig,
  logLevelProblem,
  parseFlags,
} from '../../../src/config/index.ts';

const host: ConfigHost = {
  hostname: 'box',
  interfaces: [{ name: 'eth0', address: '10.0.0.5', prefixLength: 24, family: 4, up: true, loopback: false }],
};

type Files = Readonly<Record<string, string>>;

function load(argv: readonly string[], files: Files = {}, on: Partial<ConfigHost> = {}) {
  const { values } = parseFlags(agentFlags, argv);
  const read = Object.entries(files).map(([path, text]) => ({ path, text, format: configFormatOf(path)! }));
  return loadConfig({ flags: values, files: read, host: { ...host, ...on } });
}
const dev = (files: Files = {}, ...argv: string[]): Config => load(['-dev', ...argv], files).config;
const devJson = (settings: object): Config => dev({ 'c.json': JSON.stringify(settings) });

describe('errors, in the words of the peer', () => {
  test.each<[string, readonly string[], Files, string]>([
    ['data_dir', [], {}, 'data_dir cannot be empty'],
    ['datacenter', ['-dev', '-datacenter='], {}, 'datacenter cannot be empty'],
    ['datacenter', ['-dev', '-datacenter=A b'], {}, 'datacenter cannot be "a b". Please use only [a-z0-9-_]'],
    ['node name', ['-dev', '-node= '], {}, 'node_name cannot be empty'],
    [
      'duration',
      ['-dev', '-retry-interval=5'],
      {},
      '1 error occurred:\n\t* retry_interval: invalid duration: "5": time: missing unit in duration "5"\n\n',
    ],
    ['port', ['-dev', '-http-port=70000'], {}, '1 error occurred:\n\t* ports.http: invalid port: 70000\n\n'],
    ['same address', ['-dev', '-http-port=8600'], {}, 'HTTP address 127.0.0.1:8600 already configured for DNS'],
    ['advertise', ['-dev', '-advertise=0.0.0.0'], {}, 'Advertise address cannot be 0.0.0.0, :: or [::]'],
    ['advertise', ['-dev', '-advertise=x'], {}, '1 error occurred:\n\t* advertise_addr: invalid ip address: x\n\n'],
    [
      'advertise',
      ['-dev', '-advertise=1.1.1.1 2.2.2.2'],
      {},
      '1 error occurred:\n\t* advertise_addr: multiple addresses found: 1.1.1.1 2.2.2.2\n\n',
    ],
    [
      'bind',
      ['-dev', '-bind=127.0.0.1 127.0.0.2'],
      {},
      "bind_addr cannot contain multiple addresses. Use 'addresses.{dns,http,https}' instead.",
    ],
    ['bind', ['-dev', '-bind=unix:///x'], {}, 'bind_addr cannot be a unix socket'],
    ['bind', ['-dev', '-bind='], {}, 'bind_addr cannot be empty'],
    [
      'bind, with the reason',
      ['-dev', '-bind=localhost'],
      {},
      'bind_addr cannot be empty\n  (bind_addr is "localhost": "localhost" is no IP address)',
    ],
    ['bootstrap', ['-data-dir=/d', '-bootstrap'], {}, "'bootstrap = true' requires 'server = true'"],
    [
      'bootstrap',
      ['-data-dir=/d', '-bootstrap-expect=-1'],
      {},
      'bootstrap_expect cannot be -1. Must be greater than or equal to zero',
    ],
    ['bootstrap', ['-data-dir=/d', '-bootstrap-expect=3'], {}, "'bootstrap_expect > 0' requires 'server = true'"],
    [
      'bootstrap',
      ['-data-dir=/d', '-server', '-bootstrap', '-bootstrap-expect=3'],
      {},
      "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive",
    ],
    ['bootstrap', ['-dev', '-bootstrap-expect=3'], {}, "'bootstrap_expect > 0' not allowed in dev mode"],
    [
      'template',
      ['-dev', '-client={{ Frob }}'],
      {},
      '1 error occurred:\n\t* client_addr: error parsing "{{ Frob }}": unable to parse template "{{ Frob }}": ' +
        'function "Frob" not defined\n\n',
    ],
    ['client', ['-dev', '-client=unix:///x'], {}, '1 error occurred:\n\t* client_addr cannot be a unix socket\n\n'],
    [
      'alt domain',
      ['-dev', '-alt-domain=node.x'],
      {},
      'alt_domain cannot start with {service,connect,node,query,addr,dc1}',
    ],
    ['recursor', ['-dev', '-recursor=::'], {}, 'DNS recursor address cannot be 0.0.0.0, :: or [::]'],
    [
      'node meta',
      ['-dev', '-node-meta=a b:c'],
      {},
      "node_meta invalid: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters",
    ],
    ['encrypt', ['-dev', '-encrypt=!!!!'], {}, 'encrypt has invalid key: illegal base64 data at input byte 0'],
    [
      'unknown key',
      ['-dev'],
      { 'c.json': '{"frob": 1}' },
      'failed to parse c.json: 1 error occurred:\n\t* invalid config key frob\n\n',
    ],
    [
      'unknown keys, near ones',
      ['-dev'],
      { 'c.json': '{"log_levl": "x",\n "ports": {"htp": 1}}' },
      'failed to parse c.json: 2 errors occurred:\n\t* invalid config key log_levl\n\t  line 1: did you mean log_level?\n' +
        '\t* invalid config key ports.htp\n\t  line 2: did you mean http?\n\n',
    ],
    [
      'wrong types',
      ['-dev'],
      { 'c.json': '{"log_level": 1, "retry_join": "x"}' },
      "failed to parse c.json: 2 error(s) decoding:\n\n* 'log_level' expected type 'string', got unconvertible type " +
        "'float64'\n* 'retry_join': source data must be an array or slice, got string",
    ],
    [
      'JSON syntax',
      ['-dev'],
      { 'c.json': '{"a" 1}' },
      "failed to parse c.json: invalid character '1' after object key (line 1, column 6)",
    ],
    ['JSON list', ['-dev'], { 'c.json': '[]' }, 'failed to parse c.json: settings must be an object, got a list'],
    [
      'HCL syntax',
      ['-dev'],
      { 'c.hcl': 'ports {\n  http = 1\n ' },
      'failed to parse c.hcl: At 3:3: object expected closing RBRACE got: EOF',
    ],
    [
      'fragment',
      ['-dev', '-hcl=frob = 1'],
      {},
      'failed to parse -hcl: 1 error occurred:\n\t* invalid config key frob\n\n',
    ],
    ['CA provider', ['-dev'], { 'c.hcl': 'connect { ca_provider = "zz" }' }, 'zz is not a valid CA provider'],
    [
      'TLS',
      ['-dev'],
      { 'c.hcl': 'tls_cipher_suites = "x"' },
      '1 error occurred:\n\t* tls_cipher_suites: invalid tls cipher suites: unsupported cipher "x"\n\n',
    ],
    ['TLS', ['-dev'], { 'c.hcl': 'auto_encrypt { tls = true }' }, 'auto_encrypt.tls can only be used on a client.'],
    [
      'limits',
      ['-dev'],
      { 'c.hcl': 'performance { raft_multiplier = 0 }' },
      'performance.raft_multiplier cannot be 0. Must be between 1 and 10',
    ],
    [
      'weights',
      ['-dev'],
      { 'c.hcl': 'service { name = "x" weights { passing = 0 warning = 1 } }' },
      '1 error occurred:\n\t* Invalid weight definition for service x: Passing must be greater than 0\n\n',
    ],
    [
      'service ids',
      ['-dev'],
      { 'a.hcl': 'service { name = "x" }', 'b.hcl': 'service { name = "y" id = "x" }' },
      'service id "x" is defined more than once. Give each service of that name its own "id"',
    ],
    [
      'check ids',
      ['-dev'],
      { 'a.hcl': 'check { name = "service:x" ttl = "1s" } service { name = "x" check { ttl = "1s" } }' },
      'check id "service:x" is defined more than once. Give each check of that name its own "id"',
    ],
    ['gone keys', ['-dev'], { 'c.json': '{"check": {"name": "a", "script": "x"}}' }, 'invalid config key check.script'],
    ['registrator', ['-dev'], { 'c.hcl': 'registrator { naming = "x" }' }, 'registrator.naming cannot be "x"'],
    ['watch', ['-dev'], { 'c.json': '{"watches": [{"type": "x", "args": ["y"]}]}' }, 'unsupported watch type: x'],
  ])('%s: %j %j', (_name, argv, files, message) => {
    expect(() => load(argv, files)).toThrow(ConfigError);
    try {
      load(argv, files);
    } catch (error) {
      const text = (error as Error).message;
      if (message.endsWith('\n')) expect(text).toBe(message);
      else expect(text).toContain(message);
    }
  });

  test('YAML errors name the place', () => {
    expect(() => dev({ 'c.yaml': 'ports:\n  http: [1' })).toThrow(
      /^failed to parse c\.yaml: .*\(line 2, column \d+\)$/s,
    );
  });

  test('a YAML file that explodes is refused', () => {
    const bomb = [
      'a: &a [x, x, x, x, x, x, x, x, x, x]',
      ...Array.from('bcdef', (c, i) => `${c}: &${c} [${`*${'abcdef'[i]},`.repeat(9)}]`),
    ];
    expect(() => dev({ 'c.yaml': bomb.join('\n') })).toThrow('failed to parse c.yaml');
  });

  test('data_dir must not be a file', () => {
    expect(() => load(['-data-dir=/f'], {}, { isOtherThanDirectory: (path) => path === '/f' })).toThrow(
      new ConfigError('data_dir "/f" is not a directory'),
    );
  });

  test('connections must fit the open files', () => {
    expect(() => load(['-dev'], {}, { fileDescriptorMax: 100 })).toThrow(
      'system allows a max of 100 file descriptors, but limits.http_max_conns_per_client: 200 needs at least 220',
    );
  });

  test('an unknown log level is told apart from the rest', () => {
    expect(logLevelProblem('frob')).toBe(
      'Invalid log level: frob. Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]',
    );
    expect(logLevelProblem('err')).toBeNull();
  });
});

describe('merging', () => {
  test('flags, files and fragments in the order of the peer', () => {
    const config = dev(
      {
        'a.hcl': 'retry_join = ["file-a"] log_level = "WARN" node_meta { a = "1" b = "1" } ports { dns = 1 http = 2 }',
        'b.json':
          '{"retry_join": ["file-b"], "node_meta": {"b": "2"}, "ports": {"http": 3}, "http_config": {"allow_write_http_from": ["10.0.0.0/8"]}}',
      },
      '-retry-join=flag',
      '-log-level=ERR',
      '-node-meta=c:3',
      '-allow-write-http-from=127.0.0.0/8',
      '-hcl=retry_join = ["hcl"]',
      '-hcl=ports { https = 4 }',
    );
    expect(config.join.retry).toEqual(['flag', 'file-a', 'file-b', 'hcl']);
    expect(config.log.level).toBe('ERR');
    expect(config.nodeMeta).toEqual({ a: '1', b: '2', c: '3' });
    expect(config.ports).toMatchObject({ dns: 1, http: 3, https: 4 });
    expect(config.http.allowWriteFrom).toEqual(['10.0.0.0/8', '127.0.0.0/8']);
  });

  test('the SOA block is replaced as a whole', () => {
    const config = dev({
      'a.hcl': 'dns_config { soa { refresh = 1 retry = 2 } node_ttl = "1s" }',
      'b.hcl': 'dns_config { soa { expire = 3 } }',
    });
    expect(config.dns.soa).toEqual({ refresh: 3600, retry: 600, expire: 3, minTtl: 0 });
    expect(config.dns.nodeTtlMs).toBe(1000);
  });

  test("a file's single service follows its list", () => {
    const config = dev({ 'a.json': '{"service": {"name": "c"}, "services": [{"name": "a"}, {"name": "b"}]}' });
    expect(config.services.map((service) => service.name)).toEqual(['a', 'b', 'c']);
  });

  test('recursors are not repeated', () => {
    expect(devJson({ recursors: ['1.1.1.1', '2.2.2.2', '1.1.1.1'] }).dns.recursors).toEqual(['1.1.1.1', '2.2.2.2']);
  });

  test('the three formats say the same', () => {
    const json =
      '{"ports": {"http": 1}, "services": [{"name": "web", "tags": ["a"], "check": {"tcp": "x:1", "interval": "1s"}}]}';
    const hcl = 'ports { http = 1 } services { name = "web" tags = ["a"] check { tcp = "x:1" interval = "1s" } }';
    const yaml = 'ports: {http: 1}\nservices:\n  - name: web\n    tags: [a]\n    check: {tcp: "x:1", interval: 1s}\n';
    expect(dev({ 'c.hcl': hcl })).toEqual(dev({ 'c.json': json }));
    // HCL 1 reads JSON, too.
    expect(dev({ 'c.hcl': `\n${json}` })).toEqual(dev({ 'c.json': json }));
    expect(dev({}, `-hcl=${json}`)).toEqual(dev({ 'c.json': json }));
    expect(dev({ 'c.yml': yaml })).toEqual(dev({ 'c.json': json }));
  });

  test('keys match in any case, and checks have five other spellings', () => {
    const config = devJson({
      LOG_LEVEL: 'WARN',
      check: {
        Name: 'c',
        ServiceID: 's',
        ScriptArgs: ['x'],
        DockerContainerID: 'd',
        TLSSkipVerify: true,
        Interval: '1s',
      },
    });
    expect(config.log.level).toBe('WARN');
    expect(config.checks).toEqual([
      { name: 'c', serviceId: 's', scriptArgs: ['x'], dockerContainerId: 'd', tlsSkipVerify: true, intervalMs: 1000 },
    ]);
    expect(() => devJson({ DataDir: '/x' })).toThrow('invalid config key DataDir');
    expect(() => devJson({ service: { name: 'x', EnableTagOverride: true } })).toThrow('EnableTagOverride');
  });

  test('a list of one stands for its element; null for nothing; fractions are cut', () => {
    const config = devJson({ log_level: ['WARN'], ports: [{ http: 80.9 }], node_name: null });
    expect(config).toMatchObject({ nodeName: 'box', log: { level: 'WARN' }, ports: { http: 80 } });
  });

  test('any settings load or fail with a ConfigError', () => {
    const key = fc.constantFrom('ports', 'http', 'service', 'check', 'retry_join', 'node_meta', 'acl', 'tokens', 'x');
    const value = fc.letrec<{ tree: unknown }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom(1, 'a', true, null),
        fc.array(tie('tree')),
        fc.dictionary(key, tie('tree')),
      ),
    })).tree;
    fc.assert(
      fc.property(fc.dictionary(key, value), (settings) => {
        try {
          devJson(settings);
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('what comes out', () => {
  test('a client with nothing but a data directory', () => {
    const { config, warnings } = load(['-data-dir=/d']);
    expect(warnings).toEqual([]);
    expect(config).toMatchObject({
      devMode: false,
      dataDir: '/d',
      nodeName: 'box',
      datacenter: 'dc1',
      primaryDatacenter: 'dc1',
      leaveOnTerminate: true,
      skipLeaveOnInterrupt: false,
      server: { enabled: false },
      addresses: { bind: '0.0.0.0', advertise: null, http: ['127.0.0.1'] },
      ports: { http: 8500, https: -1, grpc: -1, dns: 8600 },
      raft: { heartbeatTimeoutMs: 5000, electionTimeoutMs: 5000, leaderLeaseTimeoutMs: 2500 },
      dns: { domain: 'consul.', udpAnswerLimit: 3, maxStaleMs: 87_600 * 3_600_000 },
      registrator: { enabled: false, cleanup: false, resyncMs: 60_000 },
      enableLocalScriptChecks: false,
      disableRemoteExec: true,
    });
  });

  test('-dev is one server that elects itself', () => {
    expect(dev()).toMatchObject({
      devMode: true,
      dataDir: null,
      server: { enabled: true, bootstrap: false },
      addresses: { bind: '127.0.0.1' },
      ports: { grpc: 8502 },
      raft: { heartbeatTimeoutMs: 35, electionTimeoutMs: 52, leaderLeaseTimeoutMs: 20 },
      gossip: { lan: { probeIntervalMs: 100, suspicionMult: 3, gossipNodes: 3 } },
      connect: { enabled: true },
      log: { level: 'DEBUG' },
      leaveOnTerminate: false,
      skipLeaveOnInterrupt: true,
      registrator: { enabled: 'auto' },
    });
  });

  test('templates give addresses', () => {
    const config = dev({}, '-bind={{ GetPrivateIP }}', '-retry-join={{ GetInterfaceIP "eth0" }}', '-retry-join=a b=c');
    expect(config.addresses.bind).toBe('10.0.0.5');
    expect(config.join.retry).toEqual(['10.0.0.5', 'a b=c']);
  });

  test('an advertise template that fails or gives nothing leaves the choice to the bind address', () => {
    const { config, warnings } = load(['-dev', '-advertise={{ Frob }}', '-advertise-wan={{ GetPublicIP }}']);
    expect(config.addresses).toMatchObject({ advertise: null, advertiseWan: null });
    expect(warnings).toEqual([expect.stringContaining('advertise_addr is ignored: error parsing "{{ Frob }}"')]);
  });

  test('a service with all its parts', () => {
    const config = dev({
      'c.hcl': `service {
        name = "web" id = "web-1" kind = "frob" tags = [] port = 80 meta { a = "b" } token = "t"
        tagged_addresses { lan = { address = "10.0.0.1" port = 81 } }
        weights { passing = 2 warning = 1 }
        checks = [{ http = "http://x", interval = "10s", header { X-A = ["1", "2"] } }, { ttl = "1m", status = "passing" }]
        connect { sidecar_service { proxy { upstreams { destination_name = "db" local_bind_port = 5 config { a = 1 } } } } }
      }`,
    });
    expect(config.services).toEqual([
      {
        name: 'web',
        id: 'web-1',
        tags: [],
        port: 80,
        meta: { a: 'b' },
        token: 't',
        taggedAddresses: { lan: { Address: '10.0.0.1', Port: 81 } },
        weights: { Passing: 2, Warning: 1 },
        checks: [
          { http: 'http://x', intervalMs: 10_000, header: { 'X-A': ['1', '2'] } },
          { ttlMs: 60_000, status: 'passing' },
        ],
        connect: {
          sidecarService: {
            proxy: {
              Upstreams: [
                {
                  DestinationType: 'service',
                  DestinationName: 'db',
                  Datacenter: '',
                  LocalBindPort: 5,
                  Config: { a: 1 },
                  MeshGateway: {},
                },
              ],
              MeshGateway: {},
              Expose: {},
            },
          },
        },
      },
    ]);
  });

  test('watches, all three handlers', () => {
    const { watches } = devJson({
      watches: [
        { type: 'key', key: 'a', args: ['x'] },
        { type: 'service', service: 's', tag: ['a', 'b'], passingonly: true, handler: 'x y' },
        { type: 'nodes', handler_type: 'http', http_handler_config: { path: 'http://h', header: { A: ['b'] } } },
      ],
    });
    expect(watches.map((watch) => watch.handler)).toEqual([
      { kind: 'script', args: ['x'] },
      { kind: 'shell', command: 'x y' },
      { kind: 'http', url: 'http://h', method: 'POST', timeoutMs: 10_000, header: { A: ['b'] }, tlsSkipVerify: false },
    ]);
    expect(watches[1]).toMatchObject({ tags: ['a', 'b'], passingOnly: true });
  });

  test('the old ACL keys find their new homes, which win', () => {
    const { config, warnings } = load(['-dev'], {
      'c.hcl':
        'acl_datacenter = "DC2" acl_token = "old" acl_default_policy = "deny" acl { tokens { agent = "new" } } acl_agent_token = "old"',
    });
    expect(config.primaryDatacenter).toBe('dc2');
    expect(config.acl).toMatchObject({
      enabled: true,
      defaultPolicy: 'deny',
      tokens: { default: 'old', agent: 'new' },
    });
    expect(warnings).toEqual(["The 'acl_datacenter' field is deprecated. Use the 'primary_datacenter' field instead."]);
  });

  test('overwritten and Enterprise keys are accepted, the latter with a warning', () => {
    const { warnings } = load(['-dev'], {
      'c.hcl': 'ae_interval = "1s" snapshot_agent { x = 1 } audit { enabled = true }',
    });
    expect(warnings).toEqual(['"audit" is a Consul Enterprise configuration and will have no effect']);
    expect(() => load(['-dev', '-segment=a'])).toThrow('"segment" is a Consul Enterprise configuration');
  });

  test('risky settings are warned about', () => {
    const { warnings } = load(['-dev', '-bootstrap', '-node=a_b', '-enable-script-checks']);
    expect(warnings.map((text) => text.slice(0, 30))).toEqual([
      'Node name "a_b" will not be di',
      'bootstrap = true: do not enabl',
      'using enable-script-checks wit',
    ]);
    expect(load(['-data-dir=/d', '-server', '-bootstrap-expect=3']).warnings).toEqual([
      'bootstrap_expect > 0: expecting 3 servers',
    ]);
  });

  test('nothing in it can be changed', () => {
    const config = devJson({ services: [{ name: 'a', tags: ['x'] }] });
    expect(Object.isFrozen(config.services[0]?.tags)).toBe(true);
    expect(Object.isFrozen(config.dns.soa)).toBe(true);
  });

  test('the view for other eyes holds no secret', () => {
    const config = dev(
      {
        'c.hcl':
          'acl { tokens { default = "s3cret" } } service { name = "a" token = "s3cret" check { http = "http://x" interval = "1s" header { Authorization = ["s3cret"] } } }',
      },
      '-encrypt=czNjcmV0czNjcmV0czNjcg==',
      '-retry-join=provider=aws secret_access_key=s3cret region="x y"',
    );
    const view = debugConfig(config);
    expect(JSON.stringify(view)).not.toMatch(/s3cret|czNjcmV0/);
    expect(view).toMatchObject({
      nodeName: 'box',
      'acl.tokens.default': 'hidden',
      'acl.tokens.agent': '',
      'gossip.encrypt': 'hidden',
      'join.retry': ['provider=aws secret_access_key=hidden region="x y"'],
    });
  });
});
