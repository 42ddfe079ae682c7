// What the registrator's tests share: small inspect documents, settings, and a backend in memory.
import type { CheckStatus, ServiceDefinition } from '../../../src/model/index.ts';
import { checkTypeOf } from '../../../src/model/index.ts';
import type { Clock, ContainerInspect, Logger, Metrics, PortBinding } from '../../../src/ports/index.ts';
import { sleep } from '../../../src/ports/index.ts';
import type { HeldService, RegistrationBackend, RegistratorOptions } from '../../../src/registrator/index.ts';
import { mapContainer, type Mapping, registratorOptions, settingsOf } from '../../../src/registrator/index.ts';

export const hostAddress = '10.99.0.10';

export interface Box {
  readonly name?: string;
  readonly image?: string;
  readonly env?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  /** `80/tcp` or `80`. */
  readonly expose?: readonly string[];
  /** `80/tcp` → `8080` (both wildcards), `127.0.0.1:9000`, `[::]:8088`. */
  readonly publish?: Readonly<Record<string, readonly string[]>>;
  readonly mode?: string;
  /** Network → address; the default follows from the mode. */
  readonly networks?: Readonly<Record<string, string>>;
  readonly health?: 'starting' | 'healthy' | 'unhealthy';
  readonly healthOutput?: string;
  readonly paused?: boolean;
  readonly running?: boolean;
  /** The engine's runtime port map as it is, when the default will not do. */
  readonly runtime?: Readonly<Record<string, readonly PortBinding[] | null>>;
}

const full = (port: string): string => (port.includes('/') ? port : `${port}/tcp`);
export const idOf = (name: string): string => Buffer.from(name).toString('hex').padEnd(64, '0').slice(0, 64);

function bindings(text: string): PortBinding[] {
  const match = /^(?:\[?([0-9a-f.:]*[0-9a-f:])\]?:)?(\d+)$/.exec(text)!;
  if (match[1] !== undefined) return [{ HostIp: match[1], HostPort: match[2]! }];
  return ['0.0.0.0', '::'].map((HostIp) => ({ HostIp, HostPort: match[2]! }));
}

/** An inspect document as Docker 20.10 gives it. */
export function inspectOf(box: Box): ContainerInspect {
  const name = box.name ?? 'w1';
  const mode = box.mode ?? 'default';
  const published = Object.fromEntries(
    Object.entries(box.publish ?? {}).map(([port, list]) => [full(port), list.flatMap(bindings)]),
  );
  const exposed = [...(box.expose ?? []).map(full), ...Object.keys(published)];
  const hasPorts = mode !== 'host' && mode !== 'none' && !mode.startsWith('container:');
  const networks =
    box.networks ??
    { default: { bridge: '172.17.0.2' }, bridge: { bridge: '172.17.0.2' }, host: { host: '' }, none: { none: '' } }[
      mode
    ] ??
    (mode.startsWith('container:') ? {} : { [mode]: '172.18.0.2' });
  return {
    Id: idOf(name),
    Name: `/${name}`,
    Image: `sha256:${'4e16'.repeat(16)}`,
    State: {
      Status: box.running === false ? 'exited' : box.paused === true ? 'paused' : 'running',
      Running: box.running !== false,
      Paused: box.paused === true,
      StartedAt: '2026-11-21T09:00:00.000000001Z',
      ...(box.health === undefined
        ? {}
        : {
            Health: { Status: box.health, Log: box.healthOutput === undefined ? [] : [{ Output: box.healthOutput }] },
          }),
    },
    Config: {
      Hostname: 'box',
      Image: box.image ?? 'acme/one',
      Env: box.env ?? [],
      Labels: box.labels ?? {},
      ExposedPorts: Object.fromEntries(exposed.map((port) => [port, {}])),
      ...(box.health === undefined ? {} : { Healthcheck: { Test: ['CMD', 'true'] } }),
    },
    HostConfig: { NetworkMode: mode },
    NetworkSettings: {
      Ports:
        box.runtime ?? (hasPorts ? { ...Object.fromEntries(exposed.map((port) => [port, null])), ...published } : {}),
      Networks: Object.fromEntries(
        Object.entries(networks).map(([network, IPAddress]) => [network, { IPAddress, NetworkID: `${network}-id` }]),
      ),
    },
  };
}

export function optionsOf(given: Partial<RegistratorOptions> = {}): RegistratorOptions {
  return registratorOptions({
    hostname: 'reghost',
    advertise: () => ({ ipv4: hostAddress, source: '-advertise' }),
    ...given,
  });
}

/** Maps a box, with `owner` as the owner of its network. */
export function map(
  box: Box,
  given: Partial<RegistratorOptions> = {},
  more: {
    readonly owner?: Box;
    readonly podman?: boolean;
    readonly imageTags?: readonly string[];
    readonly everHealthy?: boolean;
    readonly note?: string;
  } = {},
): Mapping {
  const { owner, podman = false, ...facts } = more;
  return mapContainer(
    { inspect: inspectOf(box), ...facts, ...(owner === undefined ? {} : { owner: inspectOf(owner) }) },
    settingsOf(optionsOf(given), { id: 'ENGINE', name: 'reghost', podman }),
  );
}

/** `name address:port` of every service, in order. */
export function places(mapping: Mapping): string[] {
  return mapping.services.map(({ definition }) => `${definition.name} ${definition.address}:${definition.port}`);
}

export const silentLogger: Logger = {
  trace: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  named: () => silentLogger,
};

export const noMetrics: Metrics = { count: () => undefined, gauge: () => undefined, sample: () => undefined };

export class RefusedError extends Error {
  readonly statusCode: number;

  constructor(statusCode: number, message: string) {
    super(message);
    this.statusCode = statusCode;
  }
}

/** A Consul agent in memory, with outages. */
export class FakeBackend implements RegistrationBackend {
  readonly name = 'fake agent';
  readonly services = new Map<string, HeldService>();
  readonly definitions = new Map<string, ServiceDefinition>();
  readonly log: string[] = [];
  readonly #clock: Clock;
  /** Requests fail as when nothing listens. */
  down = false;
  /** Requests are done, but their answers are lost. */
  deaf = false;
  /** Time of a request, ms. */
  latency: () => number = () => 0;
  /** A reason refuses the registration. */
  refuse: (definition: ServiceDefinition) => string | undefined = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A service somebody else registered. */
  addForeign(id: string, name: string): void {
    const held = { id, name, address: '1.1.1.1', port: 1, tags: [], meta: {}, checks: new Map() };
    this.services.set(id, held);
  }

  get writes(): string[] {
    return this.log.filter((line) => line !== 'list');
  }

  list(): Promise<ReadonlyMap<string, HeldService>> {
    return this.#request('list', () => new Map(this.services));
  }

  register(definition: ServiceDefinition): Promise<void> {
    return this.#request(`register ${definition.id}`, () => {
      const reason = this.refuse(definition);
      if (reason !== undefined) throw new RefusedError(500, reason);
      const id = definition.id ?? definition.name;
      const before = this.services.get(id);
      this.definitions.set(id, definition);
      this.services.set(id, {
        id,
        name: definition.name,
        address: definition.address ?? '',
        port: definition.port ?? 0,
        tags: definition.tags ?? [],
        meta: definition.meta ?? {},
        checks: new Map(
          (definition.checks ?? []).map((check) => [
            check.id!,
            before?.checks.get(check.id!) ?? {
              status: check.status ?? 'critical',
              output: '',
              type: checkTypeOf(check),
            },
          ]),
        ),
      });
    });
  }

  deregister(serviceId: string): Promise<void> {
    return this.#request(`deregister ${serviceId}`, () => {
      if (!this.services.delete(serviceId)) throw new RefusedError(404, `Unknown service ${serviceId}`);
      this.definitions.delete(serviceId);
    });
  }

  setCheckStatus(checkId: string, status: CheckStatus, output: string): Promise<void> {
    return this.#request(`check ${checkId} ${status}`, () => {
      for (const [id, held] of this.services) {
        if (!held.checks.has(checkId)) continue;
        this.services.set(id, { ...held, checks: new Map(held.checks).set(checkId, { status, output, type: 'ttl' }) });
        return;
      }
      throw new RefusedError(404, `Unknown check "${checkId}"`);
    });
  }

  async #request<T>(what: string, act: () => T): Promise<T> {
    const ms = this.latency();
    if (ms > 0) await sleep(this.#clock, ms / 2);
    if (this.down) throw new Error('connect ECONNREFUSED 127.0.0.1:8500');
    this.log.push(what);
    const result = act();
    if (ms > 0) await sleep(this.#clock, ms / 2);
    if (this.deaf) throw new Error('socket hang up');
    return result;
  }
}
