/**
 * The loop that makes the backend equal to the engine (reference/registrator.md R1–R14). Level-triggered: an event
 * says only which container to look at; what is written follows from what is seen then. One worker for each container,
 * whose steps are serial; events that come meanwhile are one more look. A full reconciliation — subscribe, list, look
 * at everything running and everything owned — runs at the start, after each loss of the engine or the backend, and
 * slowly all the time, so that no lost event and no failed write lasts.
 */
import { setMaxListeners } from 'node:events';
import type { ServiceDefinition } from '../model/index.ts';
import {
  type Clock,
  type ContainerInspect,
  type DockerEngine,
  EngineError,
  type EngineEvent,
  type Logger,
  type Metrics,
  type Random,
  sleep,
  type Timer,
} from '../ports/index.ts';
import type { HeldService, RegistrationBackend } from './backend.ts';
import { fedCheckId, fedTtlMs, type FedCheck } from './checks.ts';
import { Claims } from './claims.ts';
import { EngineFeed } from './engine-feed.ts';
import type { ContainerExplanation, Explanation } from './explain.ts';
import { type ContainerFacts, containerName, isRunning, networkOwnerOf, shortId } from './facts.ts';
import { HeldView } from './held-view.ts';
import { Lifecycle } from './lifecycle.ts';
import { type DesiredService, mapContainer, type Mapping, notPublished } from './mapping.ts';
import { isImageId } from './naming.ts';
import { type RegistratorOptions, type Settings, settingsOf } from './options.ts';
import { leftoverContainer, ownershipOf, sealed } from './ownership.ts';
import { Backoff, Limiter, withDeadline } from './retry.ts';

/** Containers worked on at once (R14): enough to hide latency, too few to be a storm. */
const workersMax = 16;
/** Deadline of one request to the engine, ms; a list of many hundred containers takes about one second. */
const engineTimeoutMs = 20_000;
/** Deadline of one request to the backend, ms. */
const backendTimeoutMs = 10_000;
/** Waits between tries for one container and for the backend, ms. */
const retryFirstMs = 500;
const retryMaxMs = 60_000;
const backendRetryMaxMs = 15_000;
/** Podman's `kill` names no signal (R6, R39): look what became of the container after this time, ms. */
const killLookMs = 500;
/** Image names remembered; beyond it all are forgotten and asked for again. */
const imagesMax = 1_000;
/** Tries for each service when everything is deregistered at the end. */
const farewellTries = 3;
/** Errors remembered for `status`. */
const problemsMax = 100;

export interface RegistratorParts {
  readonly engine: DockerEngine;
  readonly backend: RegistrationBackend;
  readonly options: RegistratorOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface LinkStatus {
  readonly name: string;
  readonly state: 'connecting' | 'up' | 'down';
  /** Wall time of the last change, ms. */
  readonly sinceMs: number;
  readonly lastError: string | undefined;
}

export interface RegistratorStatus {
  readonly engine: LinkStatus;
  readonly backend: LinkStatus;
  /** Id used in ownership marks; "" until the engine was reached. */
  readonly engineId: string;
  /** Containers known, running or not. */
  readonly containers: number;
  readonly services: readonly { readonly id: string; readonly name: string; readonly container: string }[];
  /** What is wrong now: container (or "" for all) and sentence. */
  readonly problems: readonly { readonly container: string; readonly text: string }[];
  /** Wall time of the last complete reconciliation, ms; undefined before the first. */
  readonly reconciledMs: number | undefined;
}

/** What {@link Registrator.stop} does with the services (R10). */
export type StopMode = 'leave-services' | 'deregister-all';

export interface Registrator {
  /** Begins; returns at once. Neither link needs to be up. */
  start(): void;
  /** Ends the loop. With `deregister-all` the services of this engine are removed first; what fails is logged. */
  stop(mode: StopMode): Promise<void>;
  /** Looks at everything soon, as after a change of the advertised address. */
  reconcile(): void;
  /**
   * Why things are as they are, for one container (id or name) or all of them, running or not.
   * @throws EngineError when the engine cannot be reached or knows no such container.
   */
  explain(containerRef?: string): Promise<Explanation>;
  status(): RegistratorStatus;
}

/** @throws TemplateError for bad templates: validate the options first. */
export function createRegistrator(parts: RegistratorParts): Registrator {
  return new Reconciler(parts);
}

interface ContainerRecord {
  readonly id: string;
  readonly lifecycle: Lifecycle;
  readonly backoff: Backoff;
  working: Promise<void> | undefined;
  again: boolean;
  timer: Timer | undefined;
  name: string;
  inspect: ContainerInspect | undefined;
  /** A `die` event that no look has followed yet, with its wall time, ms. */
  ended: { readonly exitCode: number; readonly atMs: number } | undefined;
  /** Facts of the last look at which it ran. */
  facts: ContainerFacts | undefined;
  /** `StartedAt` of the run in which it was healthy. */
  healthyRun: string | undefined;
  /** What we last told each fed check. */
  readonly fed: Map<string, { readonly status: string; readonly output: string; readonly atMs: number }>;
  /** Service ids it holds a claim on or waits for. */
  readonly claims: Set<string>;
  owner: string | undefined;
  /** What was logged last, so that it is logged once. */
  reported: string;
  problems: readonly string[];
  /** Wall time of the event that is being worked on, ms. */
  eventMs: number | undefined;
}

/** The backend could not be reached; the whole backend is down, not one service. */
class BackendLost extends Error {}

class Reconciler implements Registrator {
  readonly #parts: RegistratorParts;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #options: RegistratorOptions;
  readonly #feed: EngineFeed;
  readonly #view = new HeldView();
  readonly #claims = new Claims();
  readonly #limiter = new Limiter(workersMax);
  readonly #records = new Map<string, ContainerRecord>();
  /** Network owner → containers in its network. */
  readonly #dependents = new Map<string, Set<string>>();
  /** Containers to look at when both links are up again. */
  readonly #pending = new Set<string>();
  readonly #images = new Map<string, readonly string[]>();
  readonly #engineIds = new Set<string>();
  readonly #stopping = new AbortController();
  readonly #backendBackoff: Backoff;
  #settings: Settings | undefined;
  #following: Promise<void> | undefined;
  #full: Promise<void> | undefined;
  #fullAgain = false;
  #slow: Timer | undefined;
  #probe: Timer | undefined;
  #engineLink: LinkStatus;
  #backendLink: LinkStatus;
  #reconciledMs: number | undefined;

  constructor(parts: RegistratorParts) {
    this.#parts = parts;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#options = parts.options;
    // One listener for each request under way; the limiter bounds them.
    setMaxListeners(0, this.#stopping.signal);
    this.#feed = new EngineFeed(parts.engine, parts.clock, parts.random);
    this.#backendBackoff = new Backoff(parts.random, retryFirstMs, backendRetryMaxMs);
    const sinceMs = parts.clock.wallMs();
    this.#engineLink = { name: parts.engine.endpoint, state: 'connecting', sinceMs, lastError: undefined };
    this.#backendLink = { name: parts.backend.name, state: 'connecting', sinceMs, lastError: undefined };
  }

  start(): void {
    if (this.#following !== undefined) return;
    this.#following = this.#feed.follow(
      {
        prepare: (signal) => this.#learnEngine(signal),
        opened: () => {
          this.#setEngineLink('up', undefined);
          this.#runFull();
        },
        lost: (error) => this.#setEngineLink('down', error),
        event: (event) => this.#onEvent(event),
      },
      this.#stopping.signal,
    );
    this.#armSlowTimer();
  }

  async stop(mode: StopMode): Promise<void> {
    this.#stopping.abort(new Error('the registrator stops'));
    this.#slow?.cancel();
    this.#probe?.cancel();
    for (const record of this.#records.values()) record.timer?.cancel();
    await this.#following;
    await this.#full;
    await Promise.all([...this.#records.values()].map(async (record) => record.working));
    if (mode === 'deregister-all') await this.#deregisterAll();
  }

  reconcile(): void {
    this.#runFull();
  }

  status(): RegistratorStatus {
    const problems: { container: string; text: string }[] = [];
    for (const record of this.#records.values()) {
      for (const text of record.problems)
        if (problems.length < problemsMax) problems.push({ container: record.name, text });
    }
    return {
      engine: this.#engineLink,
      backend: this.#backendLink,
      engineId: this.#settings?.engine.id ?? '',
      containers: this.#records.size,
      services: [...this.#view.all()].flatMap((held) => {
        const owner = ownershipOf(held);
        if (owner === undefined || !this.#engineIds.has(owner.engine)) return [];
        return [{ id: held.id, name: held.name, container: owner.container }];
      }),
      problems,
      reconciledMs: this.#reconciledMs,
    };
  }

  async explain(containerRef?: string): Promise<Explanation> {
    const { engine } = this.#parts;
    const settings = this.#settings ?? (await this.#learnEngine(this.#stopping.signal), this.#settings!);
    const ids =
      containerRef === undefined
        ? (await this.#ask('list of containers', (signal) => engine.listContainers({ all: true }, signal))).map(
            ({ Id }) => Id,
          )
        : [containerRef];
    const containers: ContainerExplanation[] = [];
    for (const id of ids) {
      const inspect = await this.#inspect(id);
      if (inspect === undefined) {
        if (containerRef === undefined) continue;
        throw new EngineError(`No such container: ${id}`, 404);
      }
      const facts = await this.#factsOf(inspect, this.#records.get(inspect.Id));
      const state = inspect.State?.Status ?? 'unknown';
      const mapping: Mapping = isRunning(inspect)
        ? mapContainer(facts, settings)
        : {
            services: [],
            skipped: [
              {
                port: '',
                reason: `the container is ${state} (exit code ${inspect.State?.ExitCode ?? 'unknown'})`,
                hint: 'start it',
              },
            ],
            notes: [],
          };
      containers.push({
        id: shortId(inspect.Id),
        name: containerName(inspect),
        image: inspect.Config?.Image ?? '',
        state,
        services: mapping.services.map(({ id, definition, port, decisions }) => ({
          id,
          name: definition.name,
          address: definition.address ?? '',
          port: definition.port ?? 0,
          tags: definition.tags ?? [],
          containerPort: port,
          decisions,
        })),
        skipped: mapping.skipped,
        notes: [...mapping.notes, ...(this.#records.get(inspect.Id)?.problems ?? [])],
      });
    }
    containers.sort((a, b) => (a.name < b.name ? -1 : 1));
    return { engine: engine.endpoint, containers };
  }

  // Links

  #setEngineLink(state: 'up' | 'down', error: Error | undefined): void {
    const before = this.#engineLink;
    if (before.state !== state || before.lastError !== error?.message) {
      if (state === 'up') this.#logger.info('watching the engine', { engine: before.name });
      else {
        this.#logger.warn('lost the engine, services stay as they are; trying again', {
          engine: before.name,
          error: error?.message,
        });
      }
    }
    this.#engineLink = {
      ...before,
      state,
      sinceMs: before.state === state ? before.sinceMs : this.#clock.wallMs(),
      lastError: error?.message,
    };
    this.#parts.metrics.gauge(['registrator', 'engine_up'], state === 'up' ? 1 : 0);
  }

  #setBackendLink(state: 'up' | 'down', error: Error | undefined): void {
    const before = this.#backendLink;
    if (before.state !== state) {
      if (state === 'up') this.#logger.info('registering', { backend: before.name });
      else this.#logger.warn('lost the backend; trying again', { backend: before.name, error: error?.message });
    }
    this.#backendLink = {
      ...before,
      state,
      sinceMs: before.state === state ? before.sinceMs : this.#clock.wallMs(),
      lastError: error?.message,
    };
    this.#parts.metrics.gauge(['registrator', 'backend_up'], state === 'up' ? 1 : 0);
  }

  #backendLost(error: Error): void {
    if (this.#stopping.signal.aborted) return;
    this.#setBackendLink('down', error);
    this.#probe?.cancel();
    this.#probe = this.#clock.after(this.#backendBackoff.next(), () => this.#runFull());
  }

  /** Learns who the engine is; an engine that hides `/info` (R40) is known by its endpoint. */
  async #learnEngine(signal: AbortSignal): Promise<void> {
    const { engine } = this.#parts;
    const hidden = (error: unknown): undefined => {
      if (error instanceof EngineError && error.statusCode !== undefined) return undefined;
      throw error as Error;
    };
    const [info, version] = await Promise.all([
      withDeadline(this.#clock, engineTimeoutMs, 'engine info', signal, (own) => engine.info(own)).catch(hidden),
      withDeadline(this.#clock, engineTimeoutMs, 'engine version', signal, (own) => engine.version(own)).catch(hidden),
    ]);
    const name = info?.Name ?? '';
    const known =
      info?.ID !== undefined && info.ID !== '' ? info.ID : `${name || this.#options.hostname}:${engine.endpoint}`;
    const id = this.#options.engineId === '' ? known : this.#options.engineId;
    const podman = (version?.Components ?? []).some((each) => /podman/i.test(each.Name ?? ''));
    this.#engineIds.add(id);
    const old = this.#settings?.engine;
    if (old?.id === id && old.name === name && old.podman === podman) return;
    if (old !== undefined && old.id !== id)
      this.#logger.warn('the engine has another id now', { before: old.id, after: id });
    this.#settings = settingsOf(this.#options, { id, name, podman });
  }

  // Events

  #onEvent(event: EngineEvent): void {
    const { ID, Attributes: attributes } = event.Actor;
    if (event.Type === 'network') {
      const container = attributes['container'];
      if (container !== undefined) this.#poke(container, true, event);
      return;
    }
    const action = event.Action.split(':', 1)[0]!;
    this.#parts.metrics.count(['registrator', 'event'], 1, [{ name: 'action', value: action }]);
    if (action === 'oom') {
      this.#logger.warn('a container ran out of memory', { container: attributes['name'] ?? shortId(ID) });
      return;
    }
    if (action === 'kill') {
      const record = this.#recordOf(ID);
      record.lifecycle.killed(attributes['signal'], record.inspect, this.#clock.monotonicMs());
      // Without its number the signal may be anything: look what became of the container.
      if (attributes['signal'] === undefined) {
        this.#wakeLater(record, killLookMs);
        return;
      }
      // Nothing to do yet, and a look now would wait for the engine, which is taking the container down.
      if (this.#options.onStop === 'none') return;
    }
    const record = this.#records.get(ID);
    if (record !== undefined && (action === 'die' || action === 'start')) {
      const exitCode = Number(attributes['exitCode'] ?? 0);
      record.ended = action === 'die' ? { exitCode, atMs: Number(event.timeNano) / 1e6 } : undefined;
    }
    this.#poke(ID, true, event);
    for (const dependent of this.#dependents.get(ID) ?? []) this.#poke(dependent, true);
  }

  // Full reconciliation

  #armSlowTimer(): void {
    const delayMs = this.#options.resyncMs * (0.9 + this.#parts.random.next() * 0.2);
    this.#slow = this.#clock.after(delayMs, () => {
      this.#runFull();
      this.#armSlowTimer();
    });
  }

  #runFull(): void {
    if (this.#stopping.signal.aborted) return;
    if (this.#full !== undefined) {
      this.#fullAgain = true;
      return;
    }
    this.#fullAgain = false;
    // What is left here is an answer of the engine that makes no sense: no reason for the whole agent to end.
    const confused = (error: Error): void => {
      this.#setEngineLink('down', error);
      this.#feed.restart(error);
    };
    this.#full = this.#reconcileAll()
      .catch(confused)
      .then(() => {
        this.#full = undefined;
        if (this.#fullAgain) this.#runFull();
      });
  }

  async #reconcileAll(): Promise<void> {
    if (this.#engineLink.state !== 'up') return;
    const { engine, backend } = this.#parts;
    const [listed, refreshed] = await Promise.allSettled([
      this.#ask('list of containers', (signal) => engine.listContainers({ all: false }, signal)),
      this.#view.refresh(() => this.#tell('list of services', (signal) => backend.list(signal))),
    ]);
    if (this.#stopping.signal.aborted) return;
    if (listed.status === 'rejected') {
      const error = listed.reason as Error;
      // The stream may look alive on a connection that is dead: open it anew, and list again then.
      this.#setEngineLink('down', error);
      this.#feed.restart(error);
      return;
    }
    if (refreshed.status === 'rejected') {
      const error = refreshed.reason as Error;
      if (!(error instanceof BackendLost)) this.#backendLost(error);
      return;
    }
    this.#probe?.cancel();
    this.#backendBackoff.reset();
    this.#setBackendLink('up', undefined);
    const running = new Set(listed.value.map(({ Id }) => Id));
    this.#adoptClaims(running);
    const { deregister } = this.#options;
    // Services of containers that are gone: with `never` they are somebody else's to remove.
    const owners = this.#view
      .owners(this.#engineIds)
      .filter((id) => deregister.kind !== 'never' || this.#records.has(id));
    const ids = new Set([...running, ...owners, ...this.#records.keys(), ...this.#pending]);
    this.#pending.clear();
    const work = [...ids].map(async (id) => {
      this.#poke(id, false);
      await this.#records.get(id)?.working;
    });
    await Promise.all(work);
    if (this.#options.importLeftovers && this.#backendLink.state === 'up') await this.#removeLeftovers();
    if (this.#backendLink.state === 'up' && this.#engineLink.state === 'up') this.#reconciledMs = this.#clock.wallMs();
    this.#parts.metrics.gauge(['registrator', 'containers'], this.#records.size);
  }

  /** A service we hold belongs to its container before anybody else may ask for the ID. */
  #adoptClaims(running: ReadonlySet<string>): void {
    for (const held of this.#view.all()) {
      const owner = ownershipOf(held);
      if (owner === undefined || !this.#engineIds.has(owner.engine) || this.#claims.holder(held.id) !== undefined)
        continue;
      const weak = !running.has(owner.container);
      if (weak && this.#options.deregister.kind === 'never') continue;
      this.#claims.take(held.id, owner.container, weak);
      this.#recordOf(owner.container).claims.add(held.id);
    }
  }

  /** Opt-in: what the reference program left under our host name and no container of ours asks for (R3). */
  async #removeLeftovers(): Promise<void> {
    for (const held of this.#view.all()) {
      if (ownershipOf(held) !== undefined || this.#claims.holder(held.id) !== undefined) continue;
      const container = leftoverContainer(held.id, this.#options.hostname);
      if (container === undefined) continue;
      try {
        await this.#deregister(held.id);
        this.#logger.info('removed a leftover of another registrator', { service: held.id, container });
      } catch (error) {
        this.#logger.warn('could not remove a leftover', { service: held.id, error: (error as Error).message });
        return;
      }
    }
  }

  // One container

  #recordOf(id: string): ContainerRecord {
    let record = this.#records.get(id);
    if (record === undefined) {
      record = {
        id,
        lifecycle: new Lifecycle(),
        backoff: new Backoff(this.#parts.random, retryFirstMs, retryMaxMs),
        working: undefined,
        again: false,
        timer: undefined,
        name: shortId(id),
        inspect: undefined,
        ended: undefined,
        facts: undefined,
        healthyRun: undefined,
        fed: new Map(),
        claims: new Set(),
        owner: undefined,
        reported: '',
        problems: [],
        eventMs: undefined,
      };
      this.#records.set(id, record);
    }
    return record;
  }

  /** Look at a container: at once when its worker is idle, once more when it is busy. */
  #poke(id: string, urgent: boolean, event?: EngineEvent): void {
    if (this.#stopping.signal.aborted) return;
    // Without the engine or a list from the backend nobody knows what is there; the next full reconciliation looks.
    if (this.#backendLink.state !== 'up' || this.#engineLink.state !== 'up') {
      this.#pending.add(id);
      return;
    }
    const record = this.#recordOf(id);
    if (event !== undefined) record.eventMs ??= Number(event.timeNano) / 1e6;
    record.again = true;
    record.working ??= this.#limiter.run(urgent, () => this.#work(record));
  }

  async #work(record: ContainerRecord): Promise<void> {
    while (record.again && !this.#stopping.signal.aborted) {
      record.again = false;
      record.timer?.cancel();
      record.timer = undefined;
      try {
        await this.#step(record);
        record.backoff.reset();
      } catch (error) {
        this.#failed(record, error as Error);
      }
    }
    record.eventMs = undefined;
    record.working = undefined;
  }

  #failed(record: ContainerRecord, error: Error): void {
    if (this.#stopping.signal.aborted) return;
    // The next full reconciliation, when the link is back, looks at every container that is known.
    if (error instanceof BackendLost || this.#engineLink.state !== 'up') return;
    const delayMs = record.backoff.next();
    this.#parts.metrics.count(['registrator', 'error']);
    this.#logger.warn('could not bring a container up to date; trying again', {
      container: record.name,
      error: error.message,
      retryMs: Math.round(delayMs),
    });
    record.problems = [error.message];
    this.#wakeLater(record, delayMs);
  }

  #wakeLater(record: ContainerRecord, delayMs: number): void {
    record.timer?.cancel();
    record.timer = this.#clock.after(delayMs, () => this.#poke(record.id, true));
  }

  /**
   * What a look would show after a `die` event, without the look: for about 100 ms after it the engine holds the
   * container to take its network down and answers nobody, while clients still connect to what is gone. The engine has
   * the last word all the same: a real look follows. It has the first word, too, where the event does not say enough:
   * about an earlier run than the one we saw (a replay after a break tells late), and for `on-success`, which keeps
   * what a restart policy starts again.
   */
  #takeEnded(record: ContainerRecord): ContainerInspect | undefined {
    const { ended, inspect } = record;
    record.ended = undefined;
    if (ended === undefined || inspect?.State?.Running !== true) return undefined;
    if (ended.atMs < Date.parse(inspect.State.StartedAt ?? '')) return undefined;
    if (this.#options.deregister.kind === 'on-success') return undefined;
    record.again = true;
    return {
      ...inspect,
      State: {
        ...inspect.State,
        Status: 'exited',
        Running: false,
        Paused: false,
        Restarting: false,
        ExitCode: ended.exitCode,
        FinishedAt: new Date(this.#clock.wallMs()).toISOString(),
      },
    };
  }

  /** One look at a container and what follows from it. */
  async #step(record: ContainerRecord): Promise<void> {
    const settings = this.#settings!;
    const inspect = this.#takeEnded(record) ?? (await this.#inspect(record.id));
    const nowMs = this.#clock.monotonicMs();
    record.inspect = inspect;
    if (inspect !== undefined) record.name = containerName(inspect);
    record.lifecycle.observed(inspect, settings, nowMs);
    const verdict = record.lifecycle.judge(inspect, settings, nowMs, this.#clock.wallMs());
    let mapping: Mapping | undefined = { services: [], skipped: [], notes: [] };
    if (verdict.kind === 'present') {
      this.#noteHealth(record, inspect!);
      record.facts = await this.#factsOf(inspect!, record, verdict.note);
      mapping = mapContainer(record.facts, settings);
    } else if (verdict.kind === 'kept') {
      const { facts } = record;
      // Kept as it is, unless there is something to say and we know how the services were made.
      mapping =
        verdict.note === undefined || facts === undefined
          ? undefined
          : mapContainer({ ...facts, note: verdict.note }, settings);
    }
    const weak = verdict.kind === 'kept';
    if (mapping === undefined) {
      for (const id of this.#view.ownedBy(record.id, this.#engineIds)) this.#claim(record, id, true);
    } else {
      await this.#apply(record, mapping, weak);
    }
    this.#link(record, inspect === undefined ? undefined : networkOwnerOf(inspect));
    if (verdict.recheckMs !== undefined && record.timer === undefined) this.#wakeLater(record, verdict.recheckMs);
    this.#forgetWhenDone(record, verdict.kind, nowMs);
  }

  #claim(record: ContainerRecord, id: string, weak: boolean): string | undefined {
    record.claims.add(id);
    return this.#claims.take(id, record.id, weak);
  }

  #noteHealth(record: ContainerRecord, inspect: ContainerInspect): void {
    const status = inspect.State?.Health?.Status;
    const run = inspect.State?.StartedAt ?? '';
    // After our own restart: what is registered was healthy once, or it would not be.
    const inherited = status !== 'starting' && this.#view.ownedBy(record.id, this.#engineIds).length > 0;
    if (status === 'healthy' || (record.facts === undefined && inherited)) record.healthyRun = run;
  }

  async #apply(record: ContainerRecord, mapping: Mapping, weak: boolean): Promise<void> {
    const problems = [...mapping.notes];
    const wanted = new Map<string, DesiredService>();
    const awaited = new Set<string>();
    for (const service of mapping.services) {
      const holder = this.#claim(record, service.id, weak);
      if (holder === undefined) {
        wanted.set(service.id, service);
        continue;
      }
      awaited.add(service.id);
      const other = this.#records.get(holder)?.name ?? shortId(holder);
      problems.push(`service ID ${service.id} is held by container ${other}; give one of them another SERVICE_ID`);
    }
    let failure: Error | undefined;
    for (const service of wanted.values()) {
      try {
        await this.#write(record, service, problems);
      } catch (error) {
        if (error instanceof BackendLost) throw error;
        failure ??= error as Error;
      }
    }
    // A changed ID: the new service stands before the old one goes (R5).
    for (const id of this.#view.ownedBy(record.id, this.#engineIds)) {
      if (wanted.has(id) || awaited.has(id)) continue;
      if (this.#claim(record, id, false) === undefined) await this.#deregister(id, record);
    }
    for (const id of record.claims) {
      if (wanted.has(id) || awaited.has(id)) continue;
      record.claims.delete(id);
      for (const waiting of this.#claims.release(id, record.id)) this.#poke(waiting, true);
    }
    for (const checkId of record.fed.keys()) {
      if (!mapping.services.some((service) => service.fed.some((fed) => fed.checkId === checkId)))
        record.fed.delete(checkId);
    }
    record.problems = problems;
    this.#report(record, mapping, problems);
    if (failure !== undefined) throw failure;
  }

  /** Registers when needed and feeds the checks we feed. */
  async #write(record: ContainerRecord, service: DesiredService, problems: string[]): Promise<void> {
    let { fed } = service;
    if (!this.#view.holds(service)) {
      try {
        await this.#register(record, service);
      } catch (error) {
        const degraded = error instanceof BackendLost ? undefined : withoutChecks(service, (error as Error).message);
        if (degraded === undefined) throw error;
        // One refused check must not lose the service (R13).
        problems.push(`${service.id}: the agent refuses its checks, registered without: ${(error as Error).message}`);
        if (!this.#view.holds(degraded)) await this.#register(record, degraded);
        ({ fed } = degraded);
      }
    }
    for (const check of fed) await this.#feedCheck(record, service.id, check);
  }

  async #register(record: ContainerRecord, service: DesiredService): Promise<void> {
    const { definition } = service;
    this.#view.touch(definition.id);
    try {
      await this.#tell('registration', (signal) => this.#parts.backend.register(this.#keepingStatus(service), signal));
    } catch (error) {
      if (error instanceof BackendLost) this.#view.unsure(definition);
      throw error;
    }
    this.#view.registered(definition);
    this.#parts.metrics.count(['registrator', 'register']);
    if (record.eventMs !== undefined) {
      this.#parts.metrics.sample(['registrator', 'latency'], Math.max(0, this.#clock.wallMs() - record.eventMs));
    }
    this.#logger.info('registered', {
      service: definition.id,
      name: definition.name,
      address: definition.address,
      port: definition.port,
      container: record.name,
    });
  }

  /**
   * A check that exists keeps its status: an initial status sent again would reset it (R35). What we feed carries the
   * status it should have now.
   */
  #keepingStatus({ definition, fed }: DesiredService): ServiceDefinition {
    const held = this.#view.get(definition.id)?.checks;
    if (held === undefined) return definition;
    const checks = (definition.checks ?? []).map((check) => {
      const isFed = fed.some((each) => each.checkId === check.id);
      if (isFed || check.status === undefined || !held.has(check.id!)) return check;
      const { status: _, ...rest } = check;
      return rest;
    });
    return { ...definition, checks };
  }

  async #deregister(id: string, record?: ContainerRecord): Promise<void> {
    this.#view.touch(id);
    try {
      await this.#tell('deregistration', (signal) => this.#parts.backend.deregister(id, signal));
    } catch (error) {
      if (!isUnknownService(error)) throw error;
    }
    this.#view.deregistered(id);
    this.#parts.metrics.count(['registrator', 'deregister']);
    if (record !== undefined) this.#logger.info('deregistered', { service: id, container: record.name });
  }

  /**
   * Feeds a check when it says something else than it should, when we have not spoken to it yet, and long before its
   * TTL is over.
   */
  async #feedCheck(record: ContainerRecord, serviceId: string, check: FedCheck): Promise<void> {
    const { checkId, status, output } = check;
    if (status === undefined) return;
    const last = record.fed.get(checkId);
    const held = this.#view.get(serviceId)?.checks.get(checkId);
    const nowMs = this.#clock.monotonicMs();
    const due = last === undefined || nowMs - last.atMs >= fedTtlMs / 4;
    if (!due && last.status === status && last.output === output && held?.status === status) return;
    try {
      await this.#tell('check update', (signal) => this.#parts.backend.setCheckStatus(checkId, status, output, signal));
    } catch (error) {
      // The check may not be there: register the service again at the next try.
      this.#view.doubt(serviceId);
      throw error;
    }
    record.fed.set(checkId, { status, output, atMs: nowMs });
    this.#view.checkFed(serviceId, checkId, status, output);
  }

  /** Says once what was left out and what was mended. */
  #report(record: ContainerRecord, mapping: Mapping, problems: readonly string[]): void {
    const text = JSON.stringify([mapping.skipped, problems]);
    if (text === record.reported) return;
    record.reported = text;
    const image = record.inspect?.Config?.Image;
    for (const problem of problems) this.#logger.warn(problem, { container: record.name, image });
    for (const { port, reason, hint } of mapping.skipped) {
      const fields = { container: record.name, port, hint };
      if (reason === notPublished) this.#logger.debug(`not registered: ${reason}`, fields);
      else this.#logger.info(`not registered: ${reason}`, fields);
    }
  }

  #link(record: ContainerRecord, owner: string | undefined): void {
    if (record.owner === owner) return;
    if (record.owner !== undefined) {
      const dependents = this.#dependents.get(record.owner);
      dependents?.delete(record.id);
      if (dependents?.size === 0) this.#dependents.delete(record.owner);
    }
    record.owner = owner;
    if (owner !== undefined) this.#dependents.set(owner, (this.#dependents.get(owner) ?? new Set()).add(record.id));
  }

  /** Memory follows the containers that are there, not those that ever were (R42). */
  #forgetWhenDone(record: ContainerRecord, kind: 'present' | 'kept' | 'absent', nowMs: number): void {
    const gone = record.inspect === undefined;
    const never = this.#options.deregister.kind === 'never';
    if (kind === 'present' || record.timer !== undefined || record.again) return;
    if (kind === 'kept' && !(gone && never)) return;
    if (record.inspect !== undefined && (isRunning(record.inspect) || record.inspect.State?.Restarting === true))
      return;
    if (!gone && !record.lifecycle.forgettable(this.#settings!, nowMs)) return;
    this.#link(record, undefined);
    for (const id of record.claims) {
      for (const waiting of this.#claims.release(id, record.id)) this.#poke(waiting, true);
    }
    this.#records.delete(record.id);
  }

  // Facts

  async #inspect(id: string): Promise<ContainerInspect | undefined> {
    try {
      return await this.#ask('inspect', (signal) => this.#parts.engine.inspectContainer(id, signal));
    } catch (error) {
      if (isUnknownContainer(error)) return undefined;
      throw error;
    }
  }

  async #factsOf(
    inspect: ContainerInspect,
    record: ContainerRecord | undefined,
    note?: string,
  ): Promise<ContainerFacts> {
    const ownerRef = networkOwnerOf(inspect);
    const owner = ownerRef === undefined ? undefined : await this.#inspect(ownerRef);
    const image = inspect.Config?.Image ?? '';
    const imageTags = isImageId(image) ? await this.#imageTags(inspect.Image ?? image) : undefined;
    const run = inspect.State?.StartedAt ?? '';
    return {
      inspect,
      everHealthy: inspect.State?.Health?.Status === 'healthy' || record?.healthyRun === run,
      ...(owner === undefined ? {} : { owner }),
      ...(imageTags === undefined ? {} : { imageTags }),
      ...(note === undefined ? {} : { note }),
    };
  }

  async #imageTags(image: string): Promise<readonly string[] | undefined> {
    const known = this.#images.get(image);
    if (known !== undefined) return known;
    try {
      const { RepoTags } = await this.#ask('image', (signal) => this.#parts.engine.inspectImage(image, signal));
      if (this.#images.size >= imagesMax) this.#images.clear();
      this.#images.set(image, RepoTags ?? []);
      return RepoTags ?? [];
    } catch (error) {
      // A proxy may hide images (R40): the name then comes from the id, as in the reference program.
      if (error instanceof EngineError && error.statusCode !== undefined) return undefined;
      throw error;
    }
  }

  #ask<T>(what: string, request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return withDeadline(this.#clock, engineTimeoutMs, `engine ${what}`, this.#stopping.signal, request);
  }

  /** A request to the backend; no answer at all means that the backend is down. */
  async #tell<T>(what: string, request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    try {
      return await withDeadline(
        this.#clock,
        backendTimeoutMs,
        `${this.#parts.backend.name} (${what})`,
        this.#stopping.signal,
        request,
      );
    } catch (error) {
      if (isRefusal(error)) throw error;
      this.#backendLost(error as Error);
      throw new BackendLost((error as Error).message, { cause: error });
    }
  }

  // The end

  async #deregisterAll(): Promise<void> {
    const { backend } = this.#parts;
    const never = new AbortController().signal;
    const call = <T>(what: string, request: (signal: AbortSignal) => Promise<T>): Promise<T> =>
      withDeadline(this.#clock, backendTimeoutMs, what, never, request);
    let left: HeldService[] = [...this.#view.all()];
    let problem: Error | undefined;
    for (let attempt = 0; attempt < farewellTries; attempt++) {
      if (attempt > 0) await sleep(this.#clock, retryFirstMs);
      try {
        const listed = await call('list of services', (signal) => backend.list(signal));
        left = [...listed.values()].filter((held) => this.#engineIds.has(ownershipOf(held)?.engine ?? ''));
        if (left.length === 0) return;
        const limiter = new Limiter(workersMax);
        await Promise.all(
          left.map((held) =>
            limiter.run(true, () => call('deregistration', (signal) => backend.deregister(held.id, signal))),
          ),
        );
        return;
      } catch (error) {
        problem = error as Error;
      }
    }
    this.#logger.error('services stay registered; remove them with "portolan services deregister"', {
      services: left.length,
      error: problem?.message,
    });
  }
}

/** The service with only the checks we feed, and a critical note; undefined when there is nothing to leave out. */
function withoutChecks(service: DesiredService, reason: string): DesiredService | undefined {
  const fedIds = new Set(service.fed.map((each) => each.checkId));
  const kept = (service.definition.checks ?? []).filter((check) => fedIds.has(check.id!));
  if (kept.length === (service.definition.checks ?? []).length) return undefined;
  const note: FedCheck = { checkId: fedCheckId.note(service.id, ''), status: 'critical', output: reason };
  fedIds.add(note.checkId);
  const checks = [
    ...kept.filter((check) => check.id !== note.checkId),
    { id: note.checkId, name: 'Refused checks', ttlMs: fedTtlMs, status: 'critical' },
  ];
  return {
    ...service,
    definition: sealed({ ...service.definition, checks }, fedIds),
    fed: [...service.fed.filter((each) => each.checkId !== note.checkId), note],
  };
}

/** The backend answered and refused; see {@link RegistrationBackend}. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number';
}

function isUnknownService(error: unknown): boolean {
  if (!(error instanceof Error) || !isRefusal(error)) return false;
  return (error as Error & { statusCode: number }).statusCode === 404 || /unknown service/i.test(error.message);
}

/** Podman answers 500 where Docker answers 404 (R39). */
function isUnknownContainer(error: unknown): boolean {
  if (!(error instanceof EngineError)) return false;
  return error.statusCode === 404 || (error.statusCode === 500 && /no such container/i.test(error.message));
}
