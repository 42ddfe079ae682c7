/**
 * Local state: the services and checks of this agent, with what the servers are known to have of each. It is the
 * truth about this host; anti-entropy (anti-entropy.ts) carries it to the servers. Everything here is synchronous and
 * works while every server is gone (DESIGN rule 10).
 */
import type { Clock, Random, Timer } from '../ports/index.ts';
import type { CheckDefinition, HealthCheck, NodeService } from '../model/index.ts';

/** Defaults of `check_update_interval`, reference/agent.md §4.8. */
export interface LocalStateOptions {
  /** Output-only changes are written to the servers after half of this plus a random part of it (ms); 0 = at once. */
  readonly checkUpdateIntervalMs: number;
  readonly discardCheckOutput: boolean;
}

/** Where a registration came from: `file` ones are reloaded, the others are persisted. */
export type Origin = 'file' | 'api' | 'registrator';

export interface LocalService {
  readonly service: NodeService;
  readonly token: string;
  readonly origin: Origin;
  /** Whether the servers are known to have exactly this. */
  inSync: boolean;
}

export interface LocalCheck {
  check: HealthCheck;
  readonly definition: CheckDefinition | undefined;
  readonly token: string;
  readonly origin: Origin;
  inSync: boolean;
  /** Monotonic time since when the check has been critical. */
  criticalSinceMs: number | undefined;
  deferred: Timer | undefined;
}

export class LocalState {
  readonly #clock: Clock;
  readonly #random: Random;
  #options: LocalStateOptions;
  readonly #services = new Map<string, LocalService>();
  readonly #checks = new Map<string, LocalCheck>();
  /** Records as the HTTP API reads them; same insertion order as the maps above. */
  readonly #serviceRecords = new Map<string, NodeService>();
  readonly #checkRecords = new Map<string, HealthCheck>();
  readonly #checksOfService = new Map<string, Set<string>>();
  /** IDs that differ from the servers or whose removal the servers have not seen. */
  readonly dirtyServices = new Set<string>();
  readonly dirtyChecks = new Set<string>();
  readonly removedServices = new Map<string, { readonly token: string }>();
  readonly removedChecks = new Map<string, { readonly token: string }>();
  readonly #listeners = new Set<() => void>();
  readonly #onDirty: () => void;

  constructor(dependencies: {
    readonly clock: Clock;
    readonly random: Random;
    readonly options: LocalStateOptions;
    /** Called when something differs from the servers. */
    readonly onDirty: () => void;
  }) {
    this.#clock = dependencies.clock;
    this.#random = dependencies.random;
    this.#options = dependencies.options;
    this.#onDirty = dependencies.onDirty;
  }

  setOptions(options: LocalStateOptions): void {
    this.#options = options;
  }

  get services(): ReadonlyMap<string, LocalService> {
    return this.#services;
  }

  get checks(): ReadonlyMap<string, LocalCheck> {
    return this.#checks;
  }

  get serviceRecords(): ReadonlyMap<string, NodeService> {
    return this.#serviceRecords;
  }

  get checkRecords(): ReadonlyMap<string, HealthCheck> {
    return this.#checkRecords;
  }

  /** IDs of the checks that belong to a service. */
  checkIdsOf(serviceId: string): ReadonlySet<string> {
    return this.#checksOfService.get(serviceId) ?? noIds;
  }

  /** Calls back after every change, until the returned function is called. */
  onChange(callback: () => void): () => void {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  setService(entry: Omit<LocalService, 'inSync'>): void {
    const id = entry.service.ID;
    this.#services.set(id, { ...entry, inSync: false });
    this.#serviceRecords.set(id, entry.service);
    this.removedServices.delete(id);
    this.dirtyServices.add(id);
    this.#changed(true);
  }

  /** Removes a service and its checks; false when it is unknown. */
  removeService(id: string): boolean {
    const entry = this.#services.get(id);
    if (!entry) return false;
    for (const checkId of this.checkIdsOf(id)) this.#forgetCheck(checkId);
    this.#checksOfService.delete(id);
    this.#services.delete(id);
    this.#serviceRecords.delete(id);
    this.dirtyServices.delete(id);
    this.removedServices.set(id, { token: entry.token });
    this.#changed(true);
    return true;
  }

  setCheck(entry: Pick<LocalCheck, 'check' | 'definition' | 'token' | 'origin'>): void {
    const { check } = entry;
    const previous = this.#checks.get(check.CheckID);
    previous?.deferred?.cancel();
    const criticalSinceMs =
      check.Status === 'critical' ? (previous?.criticalSinceMs ?? this.#clock.monotonicMs()) : undefined;
    if (previous && previous.check.ServiceID !== check.ServiceID) {
      this.#checksOfService.get(previous.check.ServiceID)?.delete(check.CheckID);
    }
    this.#checks.set(check.CheckID, { ...entry, inSync: false, criticalSinceMs, deferred: undefined });
    this.#checkRecords.set(check.CheckID, check);
    if (check.ServiceID !== '') {
      const ids = this.#checksOfService.get(check.ServiceID) ?? new Set<string>();
      this.#checksOfService.set(check.ServiceID, ids.add(check.CheckID));
    }
    this.removedChecks.delete(check.CheckID);
    this.dirtyChecks.add(check.CheckID);
    this.#changed(true);
  }

  /** Removes a check; false when it is unknown. */
  removeCheck(id: string): boolean {
    const entry = this.#checks.get(id);
    if (!entry) return false;
    this.#checksOfService.get(entry.check.ServiceID)?.delete(id);
    this.#forgetCheck(id);
    this.removedChecks.set(id, { token: entry.token });
    this.#changed(true);
    return true;
  }

  /**
   * Records a check's result. A new status goes to the servers at once; a new output alone is stored here and goes
   * later, because outputs change at every run and would keep every watcher awake (reference/agent.md §4.8). The first
   * output of all goes at once, too: a check that begins critical would else hide for minutes why it is.
   */
  updateCheck(id: string, status: string, output: string): void {
    const entry = this.#checks.get(id);
    if (!entry) return;
    const Output = this.#options.discardCheckOutput ? '' : output;
    if (entry.check.Status === status && entry.check.Output === Output) return;
    const news = entry.check.Status !== status || entry.check.Output === '';
    if (status !== 'critical') entry.criticalSinceMs = undefined;
    else entry.criticalSinceMs ??= this.#clock.monotonicMs();
    entry.check = { ...entry.check, Status: status, Output };
    this.#checkRecords.set(id, entry.check);
    const interval = this.#options.checkUpdateIntervalMs;
    if (!news && entry.inSync && interval > 0) {
      entry.deferred ??= this.#clock.after(interval / 2 + this.#random.next() * interval, () => {
        entry.deferred = undefined;
        if (this.#checks.get(id) !== entry) return;
        entry.inSync = false;
        this.dirtyChecks.add(id);
        this.#onDirty();
      });
      this.#changed(false);
      return;
    }
    entry.deferred?.cancel();
    entry.deferred = undefined;
    entry.inSync = false;
    this.dirtyChecks.add(id);
    this.#changed(true);
  }

  /** Checks that have been critical for longer than their definition allows (reference/agent.md §4.3). */
  servicesToReap(nowMs: number, minimumMs: number): readonly string[] {
    const ids = new Set<string>();
    for (const { check, definition, criticalSinceMs } of this.#checks.values()) {
      const limit = definition?.deregisterCriticalServiceAfterMs;
      if (limit === undefined || limit <= 0 || check.ServiceID === '' || criticalSinceMs === undefined) continue;
      if (nowMs - criticalSinceMs > Math.max(limit, minimumMs)) ids.add(check.ServiceID);
    }
    return [...ids];
  }

  markServiceInSync(id: string, service: NodeService): void {
    const entry = this.#services.get(id);
    if (entry?.service !== service) return;
    entry.inSync = true;
    this.dirtyServices.delete(id);
  }

  markCheckInSync(id: string, check: HealthCheck): void {
    const entry = this.#checks.get(id);
    if (entry?.check !== check) return;
    entry.inSync = true;
    entry.deferred?.cancel();
    entry.deferred = undefined;
    this.dirtyChecks.delete(id);
  }

  markServiceDirty(id: string): void {
    const entry = this.#services.get(id);
    if (!entry) return;
    entry.inSync = false;
    this.dirtyServices.add(id);
  }

  markCheckDirty(id: string): void {
    const entry = this.#checks.get(id);
    if (!entry) return;
    entry.inSync = false;
    this.dirtyChecks.add(id);
  }

  /** Takes over tags that were changed in the catalog (`EnableTagOverride`). */
  overrideTags(id: string, tags: NodeService['Tags']): void {
    const entry = this.#services.get(id);
    if (!entry) return;
    const service = { ...entry.service, Tags: tags };
    this.#services.set(id, { ...entry, service });
    this.#serviceRecords.set(id, service);
    this.#changed(false);
  }

  #forgetCheck(id: string): void {
    this.#checks.get(id)?.deferred?.cancel();
    this.#checks.delete(id);
    this.#checkRecords.delete(id);
    this.dirtyChecks.delete(id);
  }

  #changed(dirty: boolean): void {
    for (const listener of [...this.#listeners]) listener();
    if (dirty) this.#onDirty();
  }
}

const noIds: ReadonlySet<string> = new Set();
