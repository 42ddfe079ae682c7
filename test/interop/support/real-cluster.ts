/** Real Consul servers and clients on addresses of loopback, each in a process and a folder of its own. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConsulServer } from '../../../src/gossip/index.ts';
import { consulServer } from '../../helpers/consul-server.ts';
import { waitUntil } from '../../helpers/wait.ts';
import { Program } from './program.ts';

export interface ClusterPorts {
  readonly server: number;
  readonly http: number;
  readonly serfLan: number;
  readonly serfWan: number;
  readonly dns: number;
}

type Settings = Readonly<Record<string, unknown>>;

export interface RealMember {
  readonly name: string;
  readonly address: string;
  readonly http: string;
  /** Its data directory. */
  readonly data: string;
  /** As gossip would describe it. */
  readonly server: ConsulServer;
  program: Program;
}

export class RealCluster {
  readonly members: RealMember[] = [];
  readonly #consul: string;
  readonly #ports: ClusterPorts;
  readonly #settings: Settings;
  readonly #directory = mkdtempSync(join(tmpdir(), 'portolan-real-'));

  constructor(consul: string, ports: ClusterPorts, settings: Settings = {}) {
    this.#consul = consul;
    this.#ports = ports;
    this.#settings = settings;
  }

  /** Starts servers on `addresses` and waits until all of them know their leader. */
  async startServers(addresses: readonly string[]): Promise<void> {
    const first = addresses.map((address, at) =>
      this.start(`server-${at + 1}`, address, { server: true, bootstrap_expect: addresses.length }, addresses),
    );
    await Promise.all(first.map((member) => this.ready(member)));
  }

  /** Starts a client agent that joins the servers. */
  async startClient(name: string, address: string, settings: Settings = {}): Promise<RealMember> {
    const servers = this.members.map((member) => member.address);
    const member = this.start(name, address, settings, servers);
    await this.ready(member);
    return member;
  }

  /** Starts a member again that has ended, on the state it left behind. */
  restart(member: RealMember): void {
    member.program = this.#run(member.name);
  }

  async ready(member: RealMember): Promise<void> {
    await waitUntil(
      () => `${member.name} to know the leader: ${member.program.log.slice(-4_000)}`,
      async () => /:\d+/.test(await get(`${member.http}/v1/status/leader`)),
      60_000,
    );
  }

  /** The member that leads. */
  async leader(): Promise<RealMember> {
    return await waitUntil('a leader', async () => {
      for (const { http } of this.members) {
        const leader = await get(`${http}/v1/status/leader`);
        const found = this.members.find(({ address }) => leader.includes(`${address}:`));
        if (found !== undefined) return found;
      }
      return undefined;
    });
  }

  async close(): Promise<void> {
    for (const { program } of this.members) program.signal('SIGCONT');
    await Promise.all(this.members.map(({ program }) => program.kill()));
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** Starts a member that joins the servers, and does not wait for it. */
  start(name: string, address: string, settings: Settings = {}, others = this.#addresses()): RealMember {
    const directory = join(this.#directory, name);
    mkdirSync(directory, { recursive: true });
    const { server, http, serfLan, serfWan, dns } = this.#ports;
    const config = {
      node_name: name,
      datacenter: 'dc1',
      data_dir: join(directory, 'data'),
      bind_addr: address,
      client_addr: address,
      retry_join: others.map((other) => `${other}:${serfLan}`),
      retry_interval: '1s',
      ports: { server, http, serf_lan: serfLan, serf_wan: serfWan, dns, grpc: -1 },
      performance: { raft_multiplier: 1 },
      disable_update_check: true,
      log_level: 'debug',
      ...this.#settings,
      ...settings,
    };
    writeFileSync(join(directory, 'agent.json'), JSON.stringify(config));
    const member: RealMember = {
      name,
      address,
      http: `http://${address}:${http}`,
      data: join(directory, 'data'),
      server: consulServer({ name: name, address: address, port: server }),
      program: this.#run(name),
    };
    this.members.push(member);
    return member;
  }

  #addresses(): readonly string[] {
    return this.members.map(({ address }) => address);
  }

  #run(name: string): Program {
    const directory = join(this.#directory, name);
    const flags = ['agent', `-config-file=${join(directory, 'agent.json')}`];
    return new Program({ path: this.#consul, env: process.env }, flags, directory);
  }
}

async function get(url: string): Promise<string> {
  try {
    return await (await fetch(url, { signal: AbortSignal.timeout(2_000) })).text();
  } catch {
    return '';
  }
}
