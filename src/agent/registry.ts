/**
 * The registry: services and checks come and go here, whoever asks (a file, the HTTP API, the registrator). One call
 * changes local state, starts or stops the checks, writes what must survive to disk and carries the change to the
 * servers, in that order; the first two are synchronous, so a reader never sees half a registration.
 */
import { CheckTypeError, type Checks } from '../checks/index.ts';
import { AgentRequestError } from '../http/index.ts';
import {
  type CheckDefinition,
  checkDefinitionProblem,
  checkTypeOf,
  type CheckStatus,
  emptyCheckDefinition,
  type HealthCheck,
  nodeMaintenanceCheckId,
  type NodeService,
  type ServiceDefinition,
  serviceDefinitionProblem,
  serviceMaintenanceCheckPrefix,
  taggedAddressesProblem,
} from '../model/index.ts';
import type { Clock, Logger, Timer } from '../ports/index.ts';
import type { AntiEntropy } from './anti-entropy.ts';
import { type CheckRegistration, checkRegistration, serviceChecks, serviceRecord } from './definitions.ts';
import type { LocalState, Origin } from './local-state.ts';
import { type Persistence, PersistenceError } from './persistence.ts';
import { sidecarIdOf, sidecarOf } from './sidecar.ts';

/** How often services that were critical for too long are looked for (ms), reference/agent.md §4.3. */
const reapIntervalMs = 30_000;
/** The shortest `deregister_critical_service_after` (ms). */
const reapAfterMinimumMs = 60_000;

const defaultNodeMaintenanceReason =
  'Maintenance mode is enabled for this node, but no reason was provided. This is a default message.';
const defaultServiceMaintenanceReason =
  'Maintenance mode is enabled for this service, but no reason was provided. This is a default message.';

/** Which script and docker checks may be registered (reference/agent.md §4.7). */
export interface ScriptPermissions {
  readonly fromApi: boolean;
  readonly fromFiles: boolean;
}

export interface RegistryOptions {
  readonly nodeName: string;
  readonly scripts: ScriptPermissions;
  readonly sidecarPorts: { readonly min: number; readonly max: number };
}

interface RegisterOptions {
  readonly token: string;
  readonly replaceExistingChecks: boolean;
  readonly origin: Origin;
  /** Which checks stay although they are replaced and not among the definition's own. */
  readonly keepsCheck?: (checkId: string) => boolean;
}

export class Registry {
  readonly #state: LocalState;
  readonly #checks: Checks;
  readonly #antiEntropy: AntiEntropy;
  readonly #persistence: Persistence | undefined;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #options: RegistryOptions;
  #reaper: Timer | undefined;
  #stopped = false;
  /** The last exchange of file definitions: two at once would leave parts of both. */
  #exchange: Promise<void> = Promise.resolve();

  constructor(dependencies: {
    readonly state: LocalState;
    readonly checks: Checks;
    readonly antiEntropy: AntiEntropy;
    /** undefined: nothing survives a restart (`-dev` without a data directory). */
    readonly persistence: Persistence | undefined;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly options: RegistryOptions;
  }) {
    this.#state = dependencies.state;
    this.#checks = dependencies.checks;
    this.#antiEntropy = dependencies.antiEntropy;
    this.#persistence = dependencies.persistence;
    this.#clock = dependencies.clock;
    this.#logger = dependencies.logger;
    this.#options = dependencies.options;
  }

  start(): void {
    this.#reaper = this.#clock.after(reapIntervalMs, () => {
      void this.#reap();
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#reaper?.cancel();
    await this.#checks.stop();
  }

  /**
   * Registers a service with its checks, replacing one of the same ID. Checks that exist keep status and output.
   * @throws AgentRequestError for what the user can mend; nothing is changed then.
   */
  async registerService(definition: ServiceDefinition, options: RegisterOptions): Promise<void> {
    const { origin, token } = options;
    const problem = serviceDefinitionProblem(definition);
    if (problem !== null) throw new AgentRequestError(400, problem);
    const addressProblem = taggedAddressesProblem(definition.taggedAddresses ?? {});
    if (addressProblem !== null) throw new AgentRequestError(500, addressProblem);
    for (const check of definition.checks ?? []) this.#permit(check, origin);
    const sidecar = sidecarOf(definition, {
      ...this.#options.sidecarPorts,
      used: new Set([...this.#state.serviceRecords.values()].map(({ Port }) => Port)),
      current: this.#state.serviceRecords.get(sidecarIdOf(definition.id || definition.name))?.Port,
    });
    if (typeof sidecar === 'string') throw new AgentRequestError(500, sidecar);
    const writes = [this.#apply(definition, options, false)];
    if (sidecar !== undefined) {
      writes.push(this.#apply(sidecar, { ...options, token: sidecar.token || token }, true));
    }
    await this.#saved(origin, Promise.all(writes));
  }

  /**
   * Waits until a change is on the disk and, whatever comes of that, told to the servers.
   * @throws AgentRequestError when it is not on the disk. Not for the registrator: it finds out anew what runs.
   */
  async #saved(origin: Origin, work: Promise<unknown> | undefined): Promise<void> {
    const failure = await Promise.resolve(work).then(
      () => undefined,
      (error: unknown) => error,
    );
    await this.#told(origin);
    if (failure === undefined || (failure instanceof PersistenceError && origin === 'registrator')) return;
    throw failure instanceof PersistenceError ? new AgentRequestError(500, failure.message) : failure;
  }

  /** The registrator does not wait for servers: its next container would wait with it. */
  async #told(origin: Origin): Promise<void> {
    if (origin === 'registrator') this.#antiEntropy.trigger();
    else await this.#antiEntropy.settled();
  }

  async #apply(
    definition: ServiceDefinition,
    { token, replaceExistingChecks, origin, keepsCheck }: RegisterOptions,
    isSidecar: boolean,
  ): Promise<void> {
    const state = this.#state;
    const record = serviceRecord(definition);
    const service = isSidecar ? { ...record, LocallyRegisteredAsSidecar: true } : record;
    const checks = serviceChecks(this.#options.nodeName, service, definition.checks ?? []);
    const dropped = replaceExistingChecks
      ? [...state.checkIdsOf(service.ID)].filter(
          (id) =>
            !checks.some(({ check }) => check.CheckID === id) &&
            !id.startsWith(serviceMaintenanceCheckPrefix) &&
            keepsCheck?.(id) !== true,
        )
      : [];
    state.setService({ service, token, origin });
    for (const id of dropped) this.#forgetCheck(id);
    for (const registration of checks) this.#setCheck(registration, token, origin);
    const persistence = origin === 'file' ? undefined : this.#persistence;
    if (!persistence) return;
    await Promise.all([
      persistence.saveService({ service, token }),
      ...checks.map(({ check, definition }) =>
        persistence.saveCheck({
          check,
          definition,
          token,
          ...(origin === 'registrator' ? { fromRegistrator: true } : {}),
        }),
      ),
      ...dropped.map((id) => persistence.removeCheck(id)),
    ]);
  }

  /** Puts back what was registered before a restart; what a file defines anew wins (reference/agent.md §3.4). */
  async restore(): Promise<void> {
    const persistence = this.#persistence;
    if (!persistence) return;
    /** What stays on the disk is looked at again at the next start. */
    const purge = (work: Promise<void>): Promise<void> => work.catch(() => undefined);
    for (const { service, token } of await persistence.services()) {
      if (this.#state.services.has(service.ID)) {
        this.#logger.debug('service exists, not restoring from file', { service: service.ID });
        await purge(persistence.removeService(service.ID));
        continue;
      }
      this.#state.setService({ service, token, origin: 'api' });
    }
    for (const { check, definition, token, fromRegistrator } of await persistence.checks()) {
      const origin = fromRegistrator === true ? 'registrator' : 'api';
      const serviceGone = check.ServiceID !== '' && !this.#state.services.has(check.ServiceID);
      const forbidden = definition !== undefined && this.#refusal(definition, origin) !== undefined;
      if (this.#state.checks.has(check.CheckID) || serviceGone || forbidden) {
        if (forbidden) {
          this.#logger.warn('check is not allowed any more, purging it', { check: check.CheckID });
        }
        await purge(persistence.removeCheck(check.CheckID));
        continue;
      }
      const saved = definition?.ttlMs ? await persistence.ttlState(check.CheckID) : undefined;
      const maintenance = definition === undefined;
      const restored: HealthCheck = {
        ...check,
        Node: this.#options.nodeName,
        Status: saved?.status ?? (maintenance ? 'critical' : check.Status),
        Output: saved?.output ?? (maintenance ? check.Output : ''),
      };
      this.#state.setCheck({ check: restored, definition, token, origin });
      if (!definition) continue;
      this.#checks.add(check.CheckID, definition, {
        status: restored.Status,
        output: restored.Output,
        ...(saved ? { ttlExpiresAtMs: saved.expiresAtMs } : {}),
      });
    }
  }

  /** Removes a service with its checks and its sidecar. @returns false when it is unknown. */
  async deregisterService(id: string, origin: Origin = 'api'): Promise<boolean> {
    const known = this.#state.services.has(id);
    const sidecarId = sidecarIdOf(id);
    const hasSidecar = this.#state.serviceRecords.get(sidecarId)?.LocallyRegisteredAsSidecar === true;
    await this.#saved(
      origin,
      Promise.all([this.#dropService(id), hasSidecar ? this.#dropService(sidecarId) : undefined]),
    );
    return known;
  }

  /** Forgets a service at once; resolves when it is gone from the disk too. */
  async #dropService(id: string): Promise<void> {
    if (!this.#state.services.has(id)) return;
    const checkIds = [...this.#state.checkIdsOf(id)];
    for (const checkId of checkIds) this.#checks.remove(checkId);
    this.#state.removeService(id);
    const persistence = this.#persistence;
    if (!persistence) return;
    await Promise.all([persistence.removeService(id), ...checkIds.map((checkId) => persistence.removeCheck(checkId))]);
  }

  /** @throws AgentRequestError; nothing is changed then. */
  async registerCheck(
    definition: CheckDefinition,
    options: { readonly token: string; readonly origin: Origin },
  ): Promise<void> {
    const problem = checkDefinitionProblem(definition);
    if (problem !== null) throw new AgentRequestError(400, problem);
    this.#permit(definition, options.origin);
    const serviceId = definition.serviceId ?? '';
    const service = this.#state.services.get(serviceId)?.service;
    if (serviceId !== '' && !service) throw new AgentRequestError(500, `ServiceID "${serviceId}" does not exist`);
    const given = checkRegistration(this.#options.nodeName, service, definition);
    // Sic: the peer knows no type of a check that a file defines by itself.
    const check = options.origin === 'file' ? { ...given.check, Type: '' } : given.check;
    const registration = { ...given, check };
    this.#setCheck(registration, options.token, options.origin);
    const { origin, token } = options;
    await this.#saved(origin, origin === 'file' ? undefined : this.#persistence?.saveCheck({ ...registration, token }));
  }

  /** @returns false when it is unknown. */
  async deregisterCheck(id: string): Promise<boolean> {
    const known = this.#forgetCheck(id);
    await this.#saved('api', known ? this.#persistence?.removeCheck(id) : undefined);
    return known;
  }

  /** @throws AgentRequestError when the check is unknown or of another type. */
  async updateTtlCheck(id: string, status: CheckStatus, output: string, origin: Origin = 'api'): Promise<void> {
    try {
      this.#checks.updateTtl(id, status, output);
    } catch (error) {
      if (error instanceof CheckTypeError) throw new AgentRequestError(500, error.message);
      throw error;
    }
    const check = this.#state.checkRecords.get(id);
    const expiresAtMs = this.#checks.ttlExpiresAt(id);
    if (check && expiresAtMs !== undefined) {
      await this.#persistence?.saveTtlState(id, { status, output: check.Output, expiresAtMs });
    }
    await this.#told(origin);
  }

  /** @throws AgentRequestError (404) for an unknown service. */
  async setServiceMaintenance(serviceId: string, enable: boolean, reason: string, token: string): Promise<void> {
    const service = this.#state.services.get(serviceId)?.service;
    if (!service) throw new AgentRequestError(404, `No service registered with ID "${serviceId}"`);
    await this.#setMaintenance(`${serviceMaintenanceCheckPrefix}${serviceId}`, enable, {
      service,
      name: 'Service Maintenance Mode',
      notes: reason || defaultServiceMaintenanceReason,
      token,
    });
    this.#logger.info(`Service ${enable ? 'entered' : 'left'} maintenance mode`, { service: serviceId });
  }

  async setNodeMaintenance(enable: boolean, reason: string, token: string): Promise<void> {
    await this.#setMaintenance(nodeMaintenanceCheckId, enable, {
      service: undefined,
      name: 'Node Maintenance Mode',
      notes: reason || defaultNodeMaintenanceReason,
      token,
    });
    this.#logger.info(`Node ${enable ? 'entered' : 'left'} maintenance mode`);
  }

  async #setMaintenance(
    id: string,
    enable: boolean,
    about: {
      readonly service: NodeService | undefined;
      readonly name: string;
      readonly notes: string;
      readonly token: string;
    },
  ): Promise<void> {
    // Already so: nothing changes, not even the reason.
    if (this.#state.checks.has(id) === enable) return;
    if (!enable) {
      await this.deregisterCheck(id);
      return;
    }
    const check: HealthCheck = {
      Node: this.#options.nodeName,
      CheckID: id,
      Name: about.name,
      Status: 'critical',
      Notes: about.notes,
      Output: '',
      ServiceID: about.service?.ID ?? '',
      ServiceName: about.service?.Service ?? '',
      ServiceTags: about.service?.Tags ?? null,
      Type: 'maintenance',
      Definition: emptyCheckDefinition,
      CreateIndex: 0,
      ModifyIndex: 0,
    };
    this.#state.setCheck({ check, definition: undefined, token: about.token, origin: 'api' });
    await this.#saved('api', this.#persistence?.saveCheck({ check, definition: undefined, token: about.token }));
  }

  /**
   * Exchanges what came from files for the given definitions. Everything is validated before anything is touched, so a
   * bad file leaves the agent as it was (Consul's reload can lose all services half-way, reference/agent.md §2.8).
   * @throws AgentRequestError naming the definition.
   */
  replaceFileDefinitions(services: readonly ServiceDefinition[], checks: readonly CheckDefinition[]): Promise<void> {
    const exchange = (): Promise<void> => this.#exchangeFileDefinitions(services, checks);
    this.#exchange = this.#exchange.then(exchange, exchange);
    return this.#exchange;
  }

  async #exchangeFileDefinitions(
    services: readonly ServiceDefinition[],
    checks: readonly CheckDefinition[],
  ): Promise<void> {
    this.#validateFileDefinitions(services, checks);
    this.#antiEntropy.pause();
    try {
      const keptServices = new Set(
        services.flatMap(({ id, name, connect }) => {
          const serviceId = id || name;
          return connect?.sidecarService === undefined ? [serviceId] : [serviceId, sidecarIdOf(serviceId)];
        }),
      );
      const keptChecks = new Set(checks.map(({ id, name }) => id || name));
      for (const [id, { origin }] of this.#state.services) {
        if (origin === 'file' && !keptServices.has(id)) await this.deregisterService(id);
      }
      for (const [id, { origin, check }] of this.#state.checks) {
        // Checks that a service brought with it are exchanged with it below.
        if (origin === 'file' && !keptServices.has(check.ServiceID) && !keptChecks.has(id))
          await this.deregisterCheck(id);
      }
      for (const service of services) {
        await this.registerService(service, {
          token: service.token ?? '',
          replaceExistingChecks: true,
          origin: 'file',
          // One that the API added, or that a file defines by itself, is no flap at each reload.
          keepsCheck: (id) => keptChecks.has(id) || this.#state.checks.get(id)?.origin !== 'file',
        });
      }
      for (const check of checks) await this.registerCheck(check, { token: check.token ?? '', origin: 'file' });
    } finally {
      this.#antiEntropy.resume();
    }
  }

  #validateFileDefinitions(services: readonly ServiceDefinition[], checks: readonly CheckDefinition[]): void {
    const ids = new Set([...services.map(({ id, name }) => id || name), ...this.#state.services.keys()]);
    for (const service of services) {
      const problem =
        serviceDefinitionProblem(service) ??
        taggedAddressesProblem(service.taggedAddresses ?? {}) ??
        firstRefusal(service.checks, (check) => this.#refusal(check, 'file'));
      if (problem !== undefined)
        throw new AgentRequestError(500, `Failed to register service "${service.name}": ${problem}`);
    }
    for (const check of checks) {
      const problem =
        checkDefinitionProblem(check) ??
        this.#refusal(check, 'file') ??
        (check.serviceId && !ids.has(check.serviceId) ? `ServiceID "${check.serviceId}" does not exist` : undefined);
      if (problem !== undefined) {
        throw new AgentRequestError(500, `Failed to register check '${check.name ?? check.id ?? ''}': ${problem}`);
      }
    }
  }

  #permit(definition: CheckDefinition, origin: Origin): void {
    const refusal = this.#refusal(definition, origin);
    if (refusal !== undefined) throw new AgentRequestError(500, refusal);
  }

  #refusal(definition: CheckDefinition, origin: Origin): string | undefined {
    const type = checkTypeOf(definition);
    if (type !== 'script' && type !== 'docker') return undefined;
    // The registrator's docker checks run inside the container that asks for them, with that container's rights only.
    if (origin === 'registrator' && type === 'docker') return undefined;
    if (origin === 'file') {
      return this.#options.scripts.fromFiles
        ? undefined
        : "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true";
    }
    return this.#options.scripts.fromApi
      ? undefined
      : "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true";
  }

  #setCheck({ check, definition }: CheckRegistration, token: string, origin: Origin): void {
    const previous = this.#state.checks.get(check.CheckID)?.check;
    // A second registration is no news about health: status and output stay, or every watcher would see a flap.
    const kept = previous ? { ...check, Status: definition.status || previous.Status, Output: previous.Output } : check;
    this.#state.setCheck({ check: kept, definition, token, origin });
    this.#checks.add(check.CheckID, definition, { status: kept.Status, output: kept.Output });
  }

  #forgetCheck(id: string): boolean {
    this.#checks.remove(id);
    return this.#state.removeCheck(id);
  }

  async #reap(): Promise<void> {
    try {
      for (const id of this.#state.servicesToReap(this.#clock.monotonicMs(), reapAfterMinimumMs)) {
        await this.deregisterService(id);
        this.#logger.info('Check for service has been critical for too long; deregistered service', { service: id });
      }
    } catch (error) {
      this.#logger.error('removing critical services failed; tried again with the next scan', { error });
    }
    if (!this.#stopped) this.start();
  }
}

function firstRefusal(
  checks: readonly CheckDefinition[] | undefined,
  refusal: (check: CheckDefinition) => string | undefined,
): string | undefined {
  for (const check of checks ?? []) {
    const text = refusal(check);
    if (text !== undefined) return text;
  }
  return undefined;
}
