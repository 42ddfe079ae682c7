/**
 * An engine with an agent that watches it, and what that agent says about one container, in a form that a table can
 * hold: our own marks taken out, IDs without the host's part.
 */
import { execFile } from 'node:child_process';
import { connect } from 'node:net';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { decode, streamEncode } from 'dns-packet';
import { AgentProcess } from '../../helpers/agent-process.ts';
import { waitUntil } from '../../helpers/wait.ts';
import { startEngine, type TestEngine } from './dockerd.ts';

export const bundle = resolve(import.meta.dirname, '../../../dist/portolan.js');
/** First part of every service ID of these tests. */
export const hostName = 'reghost';
/** What the agent must have done after this time on a loaded machine, ms. */
const settleLimitMs = 20_000;
const dnsLimitMs = 5_000;
const markKeys = /^(external-source|portolan-.*)$/;

export interface SeenService {
  /** Without `reghost:<container>:` where it begins so. */
  readonly id: string;
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
  readonly lanV6: { readonly Address: string; readonly Port: number } | undefined;
}

export interface SeenCheck {
  readonly type: string;
  readonly status: string;
  readonly output: string;
}

interface AgentService {
  readonly ID: string;
  readonly Service: string;
  readonly Address: string;
  readonly Port: number;
  readonly Tags: readonly string[];
  readonly Meta: Readonly<Record<string, string>>;
  readonly TaggedAddresses?: Readonly<Record<string, { readonly Address: string; readonly Port: number }>>;
}

interface AgentCheck {
  readonly ServiceID: string;
  readonly Type: string;
  readonly Status: string;
  readonly Output: string;
}

/** One container of `portolan registrator explain -format=json`. */
export interface Explained {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly services: readonly {
    readonly id: string;
    readonly name: string;
    readonly address: string;
    readonly port: number;
    readonly tags: readonly string[];
    readonly decisions: readonly { readonly what: string; readonly value: string; readonly because: string }[];
  }[];
  readonly skipped: readonly { readonly port: string; readonly reason: string; readonly hint: string }[];
  readonly notes: readonly string[];
}

export class Registered {
  readonly engine: TestEngine;
  readonly agent: AgentProcess;
  readonly #dnsPort: number;

  /** @param block lines of the `registrator` block of the configuration. */
  static async start(
    ports: { readonly http: number; readonly dns: number },
    block = '',
    args: readonly string[] = [],
  ): Promise<Registered> {
    const engine = await startEngine({ own: true });
    const agent = new AgentProcess({
      ports,
      address: engine.hostAddress,
      netns: engine.netns,
      env: { DOCKER_HOST: engine.host },
      args: [
        `-advertise=${engine.hostAddress}`,
        `-hcl=registrator { hostname = "${hostName}" ${block} }`,
        '-enable-script-checks',
        ...args,
      ],
    });
    const both = new Registered(engine, agent, ports.dns);
    try {
      await agent.start();
    } catch (error) {
      await both.close();
      throw error;
    }
    return both;
  }

  private constructor(engine: TestEngine, agent: AgentProcess, dnsPort: number) {
    this.engine = engine;
    this.agent = agent;
    this.#dnsPort = dnsPort;
  }

  async close(): Promise<void> {
    await this.agent.close();
    await this.engine.close();
  }

  /** Services of one container, by our mark, in order of ID. */
  async services(container: { readonly id: string; readonly name: string }): Promise<readonly SeenService[]> {
    return seen((await this.agent.get('/v1/agent/services')).json, container);
  }

  /** The same in the catalog. */
  async inCatalog(container: { readonly id: string; readonly name: string }): Promise<readonly SeenService[]> {
    const { json } = await this.agent.get('/v1/agent/self');
    const node = (json as { Config: { NodeName: string } }).Config.NodeName;
    const { json: found } = await this.agent.get(`/v1/catalog/node/${node}`);
    return seen((found as { Services: unknown }).Services, container);
  }

  async checks(serviceId: string): Promise<readonly SeenCheck[]> {
    const { json } = await this.agent.get('/v1/agent/checks');
    return Object.values(json as Record<string, AgentCheck>)
      .filter(({ ServiceID }) => ServiceID === serviceId)
      .map(({ Type, Status, Output }) => ({ type: Type, status: Status, output: Output }));
  }

  /** `address:port` of every instance that DNS gives out, over TCP so that nothing is cut off. */
  async inDns(service: string): Promise<readonly string[]> {
    const query = streamEncode({
      type: 'query',
      id: 7,
      questions: [{ type: 'SRV', name: `${service}.service.consul` }],
    });
    const answer = await askTcp(this.agent.address, this.#dnsPort, query);
    const { answers = [], additionals = [] } = decode(answer);
    const endpoints = answers.flatMap((each) => {
      if (each.type !== 'SRV') return [];
      const { target, port } = each.data;
      return additionals.flatMap((record) =>
        (record.type === 'A' || record.type === 'AAAA') && record.name === target ? [`${record.data}:${port}`] : [],
      );
    });
    return [...new Set(endpoints)];
  }

  /** Waits until `look` gives what is expected; the last thing seen otherwise, for the assertion to show. */
  async settled<T>(look: () => Promise<T>, good: (value: T) => boolean, limitMs = settleLimitMs): Promise<T> {
    let last = await look();
    const end = performance.now() + limitMs;
    while (!good(last) && performance.now() < end) {
      await new Promise((done) => setTimeout(done, 50));
      last = await look();
    }
    return last;
  }

  /** Waits until the container has exactly so many services. */
  instances(container: { readonly id: string; readonly name: string }, count: number): Promise<readonly SeenService[]> {
    return waitUntil(
      () => `${count} services of ${container.name}\n${this.agent.log.slice(-3000)}`,
      async () => {
        const found = await this.services(container);
        return found.length === count && found;
      },
      settleLimitMs,
    );
  }

  async run(name: string, ...args: readonly string[]): Promise<{ readonly id: string; readonly name: string }> {
    return { id: await this.engine.run('--name', name, ...args), name };
  }

  /** `portolan registrator explain` beside the engine. */
  async explain(...args: readonly string[]): Promise<readonly Explained[]> {
    const { containers } = JSON.parse(await this.explainText('-format=json', ...args)) as { containers: Explained[] };
    return containers;
  }

  async explainText(...args: readonly string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        bundle,
        'registrator',
        'explain',
        `-hostname=${hostName}`,
        `-advertise=${this.engine.hostAddress}`,
        '-script-checks',
        ...args,
      ],
      { env: { ...process.env, DOCKER_HOST: this.engine.host }, maxBuffer: 16 << 20 },
    );
    return stdout;
  }
}

/** Services with our mark of the container, whoever holds them. */
export function seen(services: unknown, container: { readonly id: string; readonly name: string }): SeenService[] {
  return Object.values(services as Record<string, AgentService>)
    .filter(({ Meta }) => Meta?.['portolan-container'] === container.id)
    .map(({ ID, Service, Address, Port, Tags, Meta, TaggedAddresses }) => ({
      id: shortServiceId(ID, container.name),
      name: Service,
      address: Address,
      port: Port,
      tags: Tags,
      meta: Object.fromEntries(Object.entries(Meta).filter(([key]) => !markKeys.test(key))),
      lanV6: Address.includes(':') ? undefined : TaggedAddresses?.['lan_ipv6'],
    }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

export function shortServiceId(id: string, container: string): string {
  const own = `${hostName}:${container}:`;
  return id.startsWith(own) ? id.slice(own.length) : id;
}

function askTcp(host: string, port: number, query: Uint8Array): Promise<Buffer> {
  return new Promise((done, fail) => {
    const socket = connect({ host, port }, () => socket.write(query));
    let got = Buffer.alloc(0);
    socket.setTimeout(dnsLimitMs, () => socket.destroy(new Error(`no DNS answer from ${host}:${port}`)));
    socket.on('error', fail);
    socket.on('data', (chunk: Buffer) => {
      got = Buffer.concat([got, chunk]);
      if (got.length < 2 || got.length < 2 + got.readUInt16BE(0)) return;
      socket.end();
      done(got.subarray(2, 2 + got.readUInt16BE(0)));
    });
  });
}
