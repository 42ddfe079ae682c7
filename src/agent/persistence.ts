/**
 * Registrations that must survive a restart, in Consul's own files and format, so that either program can take over
 * the other's data directory (reference/agent.md §3.4): `services/<md5>`, `checks/<md5>`, `checks/state/<md5>`.
 */
import { createHash } from 'node:crypto';
import { encodeGoJson, parseGoJson } from '../codec/index.ts';
import {
  type CheckDefinition,
  type CheckStatus,
  checkStatuses,
  emptyCheckDefinition,
  emptyConnect,
  emptyProxy,
  type HealthCheck,
  type NodeService,
} from '../model/index.ts';
import type { Clock, FileStore, Logger } from '../ports/index.ts';

export interface PersistedService {
  readonly service: NodeService;
  readonly token: string;
}

export interface PersistedCheck {
  readonly check: HealthCheck;
  readonly definition: CheckDefinition | undefined;
  readonly token: string;
  /** Of our registrator, which may do what the API may not; Consul passes the field over. */
  readonly fromRegistrator?: true;
}

export interface PersistedTtlState {
  readonly status: CheckStatus;
  readonly output: string;
  /** Wall time at which the check expires unless it is updated, ms. */
  readonly expiresAtMs: number;
}

/** What was registered is in force, but a restart would not bring it back (or bring back what was removed). */
export class PersistenceError extends Error {
  constructor(what: string, cause: unknown) {
    super(
      `${what} in the data directory: ${(cause as Error).message}. It holds until the agent is restarted; ` +
        'mend the disk, then register again',
      { cause },
    );
    this.name = 'PersistenceError';
  }
}

const nanosecondsPerMs = 1e6;

function fileName(id: string): string {
  return createHash('md5').update(id).digest('hex');
}

export class Persistence {
  readonly #files: FileStore;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** The last operation under way on each path: two on one file keep the order in which they were asked for. */
  readonly #pending = new Map<string, Promise<void>>();
  /** Whether the last TTL state could not be saved: said once, not at every update. */
  #ttlStatesFail = false;

  constructor(dependencies: { readonly files: FileStore; readonly clock: Clock; readonly logger: Logger }) {
    this.#files = dependencies.files;
    this.#clock = dependencies.clock;
    this.#logger = dependencies.logger;
  }

  /** @throws PersistenceError; the file is as it was. */
  async saveService({ service, token }: PersistedService): Promise<void> {
    const { CreateIndex: _create, ModifyIndex: _modify, ...Service } = service;
    await this.#write(`services/${fileName(service.ID)}`, {
      Token: token,
      Service,
      Source: 'remote',
      LocallyRegisteredAsSidecar: service.LocallyRegisteredAsSidecar ?? false,
    });
  }

  /** @throws PersistenceError */
  async removeService(id: string): Promise<void> {
    await this.#remove(`services/${fileName(id)}`);
  }

  /** @throws PersistenceError; the file is as it was. */
  async saveCheck({ check, definition, token, fromRegistrator }: PersistedCheck): Promise<void> {
    const { CreateIndex: _create, ModifyIndex: _modify, ...Check } = check;
    await this.#write(`checks/${fileName(check.CheckID)}`, {
      Check,
      ChkType: definition === undefined ? null : checkTypeDocument(definition),
      Token: token,
      Source: 'remote',
      ...(fromRegistrator === true ? { FromRegistrator: true } : {}),
    });
  }

  /** @throws PersistenceError */
  async removeCheck(id: string): Promise<void> {
    await Promise.all([this.#remove(`checks/${fileName(id)}`), this.#remove(`checks/state/${fileName(id)}`)]);
  }

  /** Status of a TTL check, good until the TTL it had left is over. Where it cannot be saved it is done without. */
  async saveTtlState(id: string, state: PersistedTtlState): Promise<void> {
    const Expires = Math.floor(state.expiresAtMs / 1000);
    const path = `checks/state/${fileName(id)}`;
    const document = encodeGoJson({ CheckID: id, Output: state.output, Status: state.status, Expires });
    // Rewritten at every update, and worth one TTL at most: not synced.
    try {
      await this.#inOrder(path, () => this.#files.write(path, document, { sync: false }));
      this.#ttlStatesFail = false;
    } catch (error) {
      if (this.#ttlStatesFail) return;
      this.#ttlStatesFail = true;
      this.#logger.error('TTL check states cannot be saved; after a restart these checks begin critical', { error });
    }
  }

  async services(): Promise<readonly PersistedService[]> {
    return this.#readAll('services', (document) => {
      const Service = object(document['Service']);
      const service: NodeService = {
        Kind: text(Service['Kind']),
        ID: text(Service['ID']),
        Service: text(Service['Service']),
        Tags: (Service['Tags'] as readonly string[] | null | undefined) ?? null,
        Address: text(Service['Address']),
        TaggedAddresses: (Service['TaggedAddresses'] as NodeService['TaggedAddresses']) ?? {},
        Meta: (Service['Meta'] as NodeService['Meta']) ?? null,
        Port: Number(Service['Port'] ?? 0),
        Weights: (Service['Weights'] as NodeService['Weights']) ?? { Passing: 1, Warning: 1 },
        EnableTagOverride: Service['EnableTagOverride'] === true,
        Proxy: (Service['Proxy'] as NodeService['Proxy'] | undefined) ?? emptyProxy,
        Connect: (Service['Connect'] as NodeService['Connect'] | undefined) ?? emptyConnect,
        ...(document['LocallyRegisteredAsSidecar'] === true ? { LocallyRegisteredAsSidecar: true } : {}),
        CreateIndex: 0,
        ModifyIndex: 0,
      };
      if (service.ID === '' || service.Service === '') throw new Error('no service in it');
      return { service, token: text(document['Token']) };
    });
  }

  /** Persisted checks; all but TTL ones begin critical, since nobody has looked (reference/agent.md §3.4). */
  async checks(): Promise<readonly PersistedCheck[]> {
    return this.#readAll('checks', (document) => {
      const Check = object(document['Check']);
      const check: HealthCheck = {
        Node: text(Check['Node']),
        CheckID: text(Check['CheckID']),
        Name: text(Check['Name']),
        Status: 'critical',
        Notes: text(Check['Notes']),
        Output: text(Check['Output']),
        ServiceID: text(Check['ServiceID']),
        ServiceName: text(Check['ServiceName']),
        ServiceTags: (Check['ServiceTags'] as readonly string[] | null | undefined) ?? null,
        Type: text(Check['Type']),
        Definition: emptyCheckDefinition,
        CreateIndex: 0,
        ModifyIndex: 0,
      };
      if (check.CheckID === '') throw new Error('no check in it');
      const type = document['ChkType'];
      return {
        check,
        definition: type == null ? undefined : checkDefinitionOf(object(type)),
        token: text(document['Token']),
        ...(document['FromRegistrator'] === true ? { fromRegistrator: true } : {}),
      };
    });
  }

  /** The saved status of a TTL check, unless its time is over. */
  async ttlState(id: string): Promise<PersistedTtlState | undefined> {
    const path = `checks/state/${fileName(id)}`;
    try {
      const content = await this.#files.read(path);
      if (content === undefined) return undefined;
      const document = object(parseGoJson(content));
      const status = checkStatuses.find((known) => known === document['Status']);
      const expiresAtMs = Number(document['Expires']) * 1000;
      if (status !== undefined && expiresAtMs > this.#clock.wallMs()) {
        return { status, output: text(document['Output']), expiresAtMs };
      }
    } catch (error) {
      this.#logger.warn('unreadable check state ignored; it is written anew with the next update', {
        file: path,
        error,
      });
    }
    await this.#remove(path).catch(() => undefined);
    return undefined;
  }

  async #write(path: string, document: object): Promise<void> {
    const text = encodeGoJson(document);
    // Synced: a registration that was answered must survive the host's power cut (DESIGN rule 6).
    await this.#said('a registration could not be saved', path, () => this.#files.write(path, text, { sync: true }));
  }

  async #remove(path: string): Promise<void> {
    await this.#said('a registration could not be removed', path, () => this.#files.remove(path));
  }

  async #said(failure: string, path: string, operation: () => Promise<void>): Promise<void> {
    try {
      await this.#inOrder(path, operation);
    } catch (error) {
      this.#logger.error(`${failure} in the data directory`, { file: path, error });
      throw new PersistenceError(failure, error);
    }
  }

  async #inOrder(path: string, operation: () => Promise<void>): Promise<void> {
    const before = this.#pending.get(path);
    const after = before === undefined ? operation() : before.then(operation, operation);
    this.#pending.set(path, after);
    try {
      await after;
    } finally {
      if (this.#pending.get(path) === after) this.#pending.delete(path);
    }
  }

  async #readAll<T>(
    directory: string,
    decode: (document: Readonly<Record<string, unknown>>) => T,
  ): Promise<readonly T[]> {
    const found: T[] = [];
    const names = await this.#files.list(directory).catch((error: unknown) => {
      this.#logger.error('registrations cannot be read; register again what is missing', { directory, error });
      return [];
    });
    for (const name of names) {
      const path = `${directory}/${name}`;
      try {
        const content = await this.#files.read(path);
        if (content === undefined) continue;
        found.push(decode(object(parseGoJson(content))));
      } catch (error) {
        // One bad file must not keep the agent, or the other registrations, from starting.
        this.#logger.error('unreadable registration skipped; delete the file, or register again', {
          file: path,
          error,
        });
      }
    }
    return found;
  }
}

function object(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('not a JSON object');
  return value as Readonly<Record<string, unknown>>;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Consul's `CheckType` document; durations in ns. */
function checkTypeDocument(definition: CheckDefinition): object {
  const duration = (ms: number | undefined): number => Math.round((ms ?? 0) * nanosecondsPerMs);
  return {
    CheckID: definition.id ?? '',
    Name: definition.name ?? '',
    Status: definition.status ?? '',
    Notes: definition.notes ?? '',
    ScriptArgs: definition.scriptArgs ?? null,
    HTTP: definition.http ?? '',
    Header: definition.header ?? null,
    Method: definition.method ?? '',
    Body: definition.body ?? '',
    TCP: definition.tcp ?? '',
    Interval: duration(definition.intervalMs),
    AliasNode: definition.aliasNode ?? '',
    AliasService: definition.aliasService ?? '',
    DockerContainerID: definition.dockerContainerId ?? '',
    Shell: definition.shell ?? '',
    GRPC: definition.grpc ?? '',
    GRPCUseTLS: definition.grpcUseTls ?? false,
    TLSServerName: definition.tlsServerName,
    TLSSkipVerify: definition.tlsSkipVerify ?? false,
    Timeout: duration(definition.timeoutMs),
    TTL: duration(definition.ttlMs),
    SuccessBeforePassing: definition.successBeforePassing ?? 0,
    FailuresBeforeCritical: definition.failuresBeforeCritical ?? 0,
    DeregisterCriticalServiceAfter: duration(definition.deregisterCriticalServiceAfterMs),
    OutputMaxSize: definition.outputMaxSize ?? 0,
  };
}

function checkDefinitionOf(document: Readonly<Record<string, unknown>>): CheckDefinition {
  const strings: Readonly<Record<string, keyof CheckDefinition>> = {
    CheckID: 'id',
    Name: 'name',
    Status: 'status',
    Notes: 'notes',
    HTTP: 'http',
    Method: 'method',
    Body: 'body',
    TCP: 'tcp',
    AliasNode: 'aliasNode',
    AliasService: 'aliasService',
    DockerContainerID: 'dockerContainerId',
    Shell: 'shell',
    GRPC: 'grpc',
    TLSServerName: 'tlsServerName',
  };
  const durations: Readonly<Record<string, keyof CheckDefinition>> = {
    Interval: 'intervalMs',
    Timeout: 'timeoutMs',
    TTL: 'ttlMs',
    DeregisterCriticalServiceAfter: 'deregisterCriticalServiceAfterMs',
  };
  const others: Readonly<Record<string, keyof CheckDefinition>> = {
    ScriptArgs: 'scriptArgs',
    Header: 'header',
    GRPCUseTLS: 'grpcUseTls',
    TLSSkipVerify: 'tlsSkipVerify',
    SuccessBeforePassing: 'successBeforePassing',
    FailuresBeforeCritical: 'failuresBeforeCritical',
    OutputMaxSize: 'outputMaxSize',
  };
  const definition: Partial<Record<keyof CheckDefinition, unknown>> = {};
  for (const [key, field] of Object.entries(strings)) if (document[key]) definition[field] = text(document[key]);
  for (const [key, field] of Object.entries(durations)) {
    if (document[key]) definition[field] = Number(document[key]) / nanosecondsPerMs;
  }
  for (const [key, field] of Object.entries(others)) if (document[key]) definition[field] = document[key];
  return definition as CheckDefinition;
}
