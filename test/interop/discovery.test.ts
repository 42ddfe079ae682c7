// HAProxy, Prometheus and dnsmasq, configured as their manuals say, find a service of Portolan, and lose the instance
// whose check goes critical.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { createServer, get, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode, encode, type DecodedPacket, type RecordType } from 'dns-packet';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { AgentProcess } from '../helpers/agent-process.ts';
import { waitUntil } from '../helpers/wait.ts';
import { debianClient, describeWith } from './support/clients.ts';
import { Program } from './support/program.ts';

const ports = { http: 23_100, dns: 23_101 } as const;
const proxyPort = 23_110;
const proxyStatusPort = 23_111;
const prometheusPort = 23_112;
const dnsmasqPort = 23_113;
/** One instance of the service behind each; the instance answers with its number. */
const instancePorts = [23_120, 23_121] as const;

const directory = mkdtempSync(join(tmpdir(), 'portolan-discovery-'));
const agent = new AgentProcess({
  ports,
  args: ['-registrator=false', '-server-port=23102', '-serf-lan-port=23103', '-serf-wan-port=23104'],
});
const instances: Server[] = [];
let program: Program | undefined;

beforeAll(async () => {
  await agent.start();
  for (const [at, port] of instancePorts.entries()) {
    const server = createServer((_, response) => response.end(String(at)));
    await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
    instances.push(server);
  }
});

afterAll(async () => {
  for (const server of instances) {
    server.closeAllConnections();
    server.close();
  }
  await agent.close();
  rmSync(directory, { recursive: true, force: true });
});

beforeEach(async () => {
  for (const [at, Port] of instancePorts.entries()) {
    const { status } = await agent.request('PUT', '/v1/agent/service/register', {
      ID: `web-${at}`,
      Name: 'web',
      Address: '127.0.0.1',
      Port,
      Tags: ['v1'],
      Meta: { number: String(at) },
      Check: { CheckID: `web-${at}`, TTL: '1h', Status: 'passing' },
    });
    expect(status).toBe(200);
  }
});

afterEach(async () => {
  await program?.close();
  program = undefined;
});

async function setCheck(at: number, status: 'pass' | 'fail'): Promise<void> {
  expect((await agent.request('PUT', `/v1/agent/check/${status}/web-${at}`)).status).toBe(200);
}

function textOf(port: number, path: string): Promise<string> {
  return new Promise((done, fail) => {
    get({ host: '127.0.0.1', port, path, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => done(text));
      response.on('error', fail);
    }).on('error', fail);
  });
}

/** Waits until what the client knows is `expected`. */
async function until(expected: unknown, known: () => Promise<unknown>): Promise<void> {
  let last: unknown;
  await waitUntil(
    () => `${JSON.stringify(expected)}; last ${JSON.stringify(last)}\n${program?.log}`,
    async () => {
      last = await known().catch((error: unknown) => String(error));
      return JSON.stringify(last) === JSON.stringify(expected);
    },
  );
}

describeWith('HAProxy', { haproxy: debianClient('haproxy') }, ({ haproxy }) => {
  /** Answers over many requests: which instances it sends them to. */
  async function served(): Promise<string[]> {
    const answers = new Set<string>();
    for (let i = 0; i < 8; i++) answers.add(await textOf(proxyPort, '/'));
    return [...answers].toSorted();
  }

  /** The servers of the template that have an address. */
  async function serversUp(): Promise<number> {
    const rows = (await textOf(proxyStatusPort, '/status;csv')).split('\n').map((line) => line.split(','));
    return rows.filter(([proxy, server, ...rest]) => proxy === 'web' && server !== 'BACKEND' && rest[15] === 'no check')
      .length;
  }

  test.each([
    ['_web._tcp.service.consul', 'a service'],
    ['_web._v1.service.consul', 'its instances with a tag'],
  ])('server-template over SRV of %s: %s', async (name) => {
    const file = join(directory, 'haproxy.cfg');
    writeFileSync(
      file,
      `
resolvers portolan
  nameserver local 127.0.0.1:${ports.dns}
  accepted_payload_size 8192
  resolve_retries 2
  timeout resolve 100ms
  timeout retry 500ms
  hold valid 100ms
  hold obsolete 0s
  hold nx 100ms
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
listen status
  bind 127.0.0.1:${proxyStatusPort}
  stats enable
  stats uri /status
frontend in
  bind 127.0.0.1:${proxyPort}
  default_backend web
backend web
  balance roundrobin
  server-template web 4 ${name} resolvers portolan resolve-prefer ipv4 init-addr none
`,
    );
    program = new Program(haproxy, ['-db', '-f', file], directory);
    await until(['0', '1'], served);
    await until(2, serversUp);
    await setCheck(0, 'fail');
    await until(1, serversUp);
    expect(await served()).toEqual(['1']);
    await setCheck(0, 'pass');
    await until(['0', '1'], served);
  });
});

describeWith('Prometheus', { prometheus: debianClient('prometheus') }, ({ prometheus }) => {
  interface Targets {
    readonly data: { readonly activeTargets: readonly Target[] };
  }
  interface Target {
    readonly labels: Readonly<Record<string, string>>;
    readonly discoveredLabels: Readonly<Record<string, string>>;
  }
  async function targets(): Promise<readonly Target[]> {
    const { data } = JSON.parse(await textOf(prometheusPort, '/api/v1/targets')) as Targets;
    return data.activeTargets.toSorted((a, b) => (a.labels['instance']! < b.labels['instance']! ? -1 : 1));
  }
  const found = async (): Promise<(string | undefined)[]> => (await targets()).map(({ labels }) => labels['instance']);

  test.each([
    ['one service', "services: ['web']"],
    ['every service with a tag', "tags: ['v1']"],
  ])('consul_sd_configs: %s', async (_, selection) => {
    writeFileSync(
      join(directory, 'prometheus.yml'),
      `
scrape_configs:
  - job_name: portolan
    scrape_interval: 1s
    consul_sd_configs:
      - server: 127.0.0.1:${ports.http}
        refresh_interval: 1s
        ${selection}
    relabel_configs:
      - { source_labels: [__meta_consul_service], regex: web, action: keep }
      - { source_labels: [__meta_consul_health], regex: critical, action: drop }
`,
    );
    program = new Program(
      prometheus,
      [
        '--config.file=prometheus.yml',
        `--storage.tsdb.path=${mkdtempSync(join(directory, 'tsdb-'))}`,
        `--web.listen-address=127.0.0.1:${prometheusPort}`,
      ],
      directory,
    );
    const both = instancePorts.map((port) => `127.0.0.1:${port}`);
    await until(both, found);
    const { discoveredLabels } = (await targets())[0]!;
    expect(discoveredLabels).toMatchObject({
      __address__: both[0],
      __meta_consul_address: '127.0.0.1',
      __meta_consul_dc: 'dc1',
      __meta_consul_health: 'passing',
      __meta_consul_service: 'web',
      __meta_consul_service_address: '127.0.0.1',
      __meta_consul_service_id: 'web-0',
      __meta_consul_service_metadata_number: '0',
      __meta_consul_service_port: String(instancePorts[0]),
      __meta_consul_tags: ',v1,',
    });
    await setCheck(0, 'fail');
    await until(both.slice(1), found);
    await setCheck(0, 'pass');
    await until(both, found);
    await agent.request('PUT', '/v1/agent/service/deregister/web-1');
    await until(both.slice(0, 1), found);
  });
});

describeWith('dnsmasq', { dnsmasq: debianClient('dnsmasq') }, ({ dnsmasq }) => {
  function ask(name: string, type: RecordType): Promise<DecodedPacket> {
    return new Promise((done, fail) => {
      const socket = createSocket('udp4');
      const timer = setTimeout(() => {
        socket.close();
        fail(new Error(`no answer for ${name}`));
      }, 1_000);
      socket.once('message', (message) => {
        clearTimeout(timer);
        socket.close();
        done(decode(message));
      });
      const questions = [{ type, name }];
      // dns-packet takes the flags as bits: recursion desired.
      socket.send(encode({ type: 'query', id: 7, flags: 0x100, questions }), dnsmasqPort, '127.0.0.1');
    });
  }
  const portsOf = async (name: string): Promise<number[]> =>
    ((await ask(name, 'SRV')).answers ?? [])
      .flatMap((answer) => (answer.type === 'SRV' ? [answer.data.port] : []))
      .toSorted((a, b) => a - b);

  test('.consul goes to Portolan, to be found by name and by address', async () => {
    program = new Program(
      dnsmasq,
      [
        '--keep-in-foreground',
        '--log-facility=-',
        '--conf-file=/dev/null',
        '--no-resolv',
        '--no-hosts',
        '--pid-file=',
        '--user=',
        '--bind-interfaces',
        '--listen-address=127.0.0.1',
        `--port=${dnsmasqPort}`,
        `--server=/consul/127.0.0.1#${ports.dns}`,
        `--rev-server=127.0.0.0/8,127.0.0.1#${ports.dns}`,
      ],
      directory,
    );
    await until([...instancePorts], () => portsOf('web.service.consul'));
    const a = await ask('web.service.consul', 'A');
    expect((a.answers ?? []).map((answer) => answer.type === 'A' && answer.data)).toEqual(['127.0.0.1']);
    const reverse = await ask('1.0.0.127.in-addr.arpa', 'PTR');
    expect((reverse.answers ?? []).map((answer) => answer.type === 'PTR' && answer.data)).toEqual([
      expect.stringMatching(/\.node\.dc1\.consul$/),
    ]);
    await setCheck(0, 'fail');
    await until([instancePorts[1]], () => portsOf('web.service.consul'));
    await setCheck(1, 'fail');
    await until([], () => portsOf('web.service.consul'));
    await setCheck(0, 'pass');
    await until([instancePorts[0]], () => portsOf('web.service.consul'));
    const nowhere = await ask('nowhere.service.consul', 'A');
    expect((nowhere.flags ?? 0) & 0xf, 'NXDOMAIN').toBe(3);
  });
});
