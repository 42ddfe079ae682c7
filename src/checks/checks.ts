/**
 * All checks of this agent: each definition becomes a TTL timer, an alias, or a runner on its schedule. Statuses go out
 * through one callback; who stores and spreads them is not known here.
 */
import { isDeepStrictEqual } from 'node:util';
import { checkTypeOf, type CheckDefinition, type CheckStatus } from '../model/index.ts';
import type { Clock, DockerEngine, Logger, Metrics, ProcessRunner, Random } from '../ports/index.ts';
import { AliasCheck, type AliasSource } from './alias.ts';
import { dockerRunner, dockerTimeoutMsDefault } from './docker.ts';
import { grpcRunner } from './grpc.ts';
import { httpRunner, userAgentDefault } from './http.ts';
import { IntervalCheck } from './interval-check.ts';
import { Limiter } from './limiter.ts';
import { outputBytesDefault, outputLimit } from './output.ts';
import type { CheckRunner } from './runner.ts';
import { effectiveIntervalMs, intervalMsMin } from './schedule.ts';
import { scriptRunner, scriptTimeoutMsDefault } from './script.ts';
import { networkTimeoutMsDefault, tcpRunner } from './tcp.ts';
import { Thresholds } from './thresholds.ts';
import type { CheckTls } from './tls-options.ts';
import { TtlCheck } from './ttl.ts';

/**
 * Runs at a time, for each type. An exec is three requests and a process in a container, about 50 ms of an engine's
 * time; 64 keep an engine busy, and 200 containers that start together wait for their turn.
 */
export const runsMaxPerType = 64;

/**
 * A stop waits so long for commands to be ended, ms. Then they are left: an engine that hangs must not keep the agent
 * from going, whose own supervisor gives it a few seconds.
 */
const stopWaitMs = 1_500;

export interface ChecksOptions {
  /** `check_output_max_size`, bytes. Default 4096. */
  readonly outputMaxSize?: number;
  /** `discard_check_output`: statuses only. */
  readonly discardOutput?: boolean;
  /** Default `Consul Health Check`. */
  readonly userAgent?: string;
  /** Certificates for HTTP and gRPC checks, with `enable_agent_tls_for_checks`. */
  readonly tls?: CheckTls;
  /** Default {@link runsMaxPerType}. */
  readonly runsMax?: number;
}

export interface ChecksDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly processRunner: ProcessRunner;
  /** Asked at each run: the engine may be configured later, or not at all. */
  readonly docker: () => DockerEngine | undefined;
  readonly aliasSource: AliasSource;
  readonly options?: ChecksOptions;
  /** Called for every result that counts, also when it equals the one before. */
  readonly onStatus: (checkId: string, status: CheckStatus, output: string) => void;
}

/** What a check starts with. */
export interface InitialState {
  readonly status: string;
  readonly output: string;
  /** For a TTL check that was persisted: when it was to expire, wall ms ({@link Checks.ttlExpiresAt}). */
  readonly ttlExpiresAtMs?: number;
}

export interface Checks {
  /**
   * Starts a check. The same id with an equal definition changes nothing (no timer starts anew, registrator.md R35);
   * with another definition it replaces the old one. A definition without a type (maintenance) never runs.
   */
  add(checkId: string, definition: CheckDefinition, initial: InitialState): void;
  /** Ends a check and a run under way; an unknown id is fine. */
  remove(checkId: string): void;
  /** @throws CheckTypeError when there is no such check or it is no TTL check. */
  updateTtl(checkId: string, status: CheckStatus, output: string): void;
  /** When a TTL check expires unless it is updated, wall ms; undefined for others. */
  ttlExpiresAt(checkId: string): number | undefined;
  /** Ends everything; settles when no run is left, or after 1.5 s, and says so. */
  stop(): Promise<void>;
}

/** The check is not of the type the call needs; the text is Consul's. */
export class CheckTypeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'CheckTypeError';
  }
}

type Running =
  | { readonly kind: 'ttl'; readonly check: TtlCheck }
  | { readonly kind: 'alias'; readonly check: AliasCheck }
  | { readonly kind: 'interval'; readonly check: IntervalCheck }
  | { readonly kind: 'none' };

export function createChecks(deps: ChecksDeps): Checks {
  return new CheckSet(deps);
}

class CheckSet implements Checks {
  readonly #deps: ChecksDeps;
  readonly #checks = new Map<string, { readonly definition: CheckDefinition; readonly running: Running }>();
  readonly #limiters = new Map<string, Limiter>();
  /** Runs of removed checks that are not over yet. */
  readonly #ending = new Set<Promise<void>>();

  constructor(deps: ChecksDeps) {
    this.#deps = deps;
  }

  add(checkId: string, definition: CheckDefinition, initial: InitialState): void {
    const known = this.#checks.get(checkId);
    if (known !== undefined && isDeepStrictEqual(meaningOf(known.definition), meaningOf(definition))) return;
    this.remove(checkId);
    this.#checks.set(checkId, { definition, running: this.#start(checkId, definition, initial) });
  }

  remove(checkId: string): void {
    const running = this.#checks.get(checkId)?.running;
    this.#checks.delete(checkId);
    if (running === undefined || running.kind === 'none') return;
    const ended = running.check.stop();
    if (ended === undefined) return;
    this.#ending.add(ended);
    void ended.finally(() => this.#ending.delete(ended));
  }

  updateTtl(checkId: string, status: CheckStatus, output: string): void {
    const running = this.#checks.get(checkId)?.running;
    if (running?.kind !== 'ttl') {
      throw new CheckTypeError(`CheckID ${JSON.stringify(checkId)} does not have associated TTL`);
    }
    running.check.update(status, output);
  }

  ttlExpiresAt(checkId: string): number | undefined {
    const running = this.#checks.get(checkId)?.running;
    return running?.kind === 'ttl' ? running.check.expiresAtWallMs : undefined;
  }

  async stop(): Promise<void> {
    for (const checkId of this.#checks.keys()) this.remove(checkId);
    const { clock, logger } = this.#deps;
    await new Promise<void>((resolve) => {
      const limit = clock.after(stopWaitMs, () => {
        logger.warn('checks still run at the end; see whether their commands go away, or whether the engine hangs', {
          checks: this.#ending.size,
        });
        resolve();
      });
      void Promise.allSettled(this.#ending).then(() => {
        limit.cancel();
        resolve();
      });
    });
  }

  #start(checkId: string, definition: CheckDefinition, initial: InitialState): Running {
    const { clock, random, metrics, options = {} } = this.#deps;
    const logger = this.#deps.logger;
    const type = checkTypeOf(definition);
    const outputBytesMax = outputLimit(options.outputMaxSize ?? outputBytesDefault, definition.outputMaxSize);
    const onStatus = (status: CheckStatus, output: string): void => {
      if (status === 'passing') logger.debug('Check status updated', { check: checkId, status });
      else logger.warn(`Check is now ${status}`, { check: checkId });
      this.#deps.onStatus(checkId, status, options.discardOutput === true ? '' : output);
    };
    if (type === 'ttl') {
      const { ttlExpiresAtMs, output: lastOutput } = initial;
      const restored = ttlExpiresAtMs === undefined ? {} : { expiresAtWallMs: ttlExpiresAtMs };
      const ttlMs = definition.ttlMs ?? 0;
      return { kind: 'ttl', check: new TtlCheck({ clock, ttlMs, outputBytesMax, lastOutput, onStatus, ...restored }) };
    }
    if (type === 'alias') {
      const target = {
        checkId,
        ownServiceId: definition.serviceId ?? '',
        node: definition.aliasNode ?? '',
        serviceId: definition.aliasService ?? '',
      };
      const source = this.#deps.aliasSource;
      return { kind: 'alias', check: new AliasCheck({ target, source, clock, outputBytesMax, onStatus }) };
    }
    const runner = this.#runner(type, definition, outputBytesMax);
    if (runner === undefined) return { kind: 'none' };
    const asked = definition.intervalMs ?? 0;
    const intervalMs = effectiveIntervalMs(asked);
    if (asked < intervalMs) {
      logger.warn('check has interval below minimum', { check: checkId, minimum_interval: `${intervalMsMin / 1000}s` });
    }
    const thresholds = new Thresholds({
      successBeforePassing: definition.successBeforePassing ?? 0,
      failuresBeforeCritical: definition.failuresBeforeCritical ?? 0,
    });
    const limiter = this.#limiter(type);
    const parts = { checkId, type, intervalMs, runner, thresholds, limiter, clock, random, logger, metrics, onStatus };
    return { kind: 'interval', check: new IntervalCheck(parts) };
  }

  #limiter(type: string): Limiter {
    const limiter = this.#limiters.get(type) ?? new Limiter(this.#deps.options?.runsMax ?? runsMaxPerType);
    this.#limiters.set(type, limiter);
    return limiter;
  }

  #runner(type: string, definition: CheckDefinition, outputBytesMax: number): CheckRunner | undefined {
    const { clock, processRunner, docker, options = {} } = this.#deps;
    const argv = definition.scriptArgs ?? [];
    const timeoutMs = (byDefault: number): number => definition.timeoutMs || byDefault;
    const tls = {
      skipVerify: definition.tlsSkipVerify ?? false,
      serverName: definition.tlsServerName,
      userAgent: options.userAgent ?? userAgentDefault,
      tls: options.tls ?? {},
      clock,
    };
    switch (type) {
      case 'http':
        return httpRunner({
          url: definition.http ?? '',
          method: definition.method || 'GET',
          header: definition.header ?? {},
          body: definition.body ?? '',
          timeoutMs: timeoutMs(networkTimeoutMsDefault),
          outputBytesMax,
          ...tls,
        });
      case 'tcp':
        return tcpRunner({ target: definition.tcp ?? '', timeoutMs: timeoutMs(networkTimeoutMsDefault), clock });
      case 'grpc':
        return grpcRunner({
          target: definition.grpc ?? '',
          timeoutMs: timeoutMs(networkTimeoutMsDefault),
          useTls: definition.grpcUseTls ?? false,
          ...tls,
        });
      case 'script':
        return scriptRunner({ argv, timeoutMs: timeoutMs(scriptTimeoutMsDefault), outputBytesMax, processRunner });
      case 'docker':
        return dockerRunner({
          containerId: definition.dockerContainerId ?? '',
          argv,
          timeoutMs: timeoutMs(dockerTimeoutMsDefault),
          outputBytesMax,
          engine: docker,
        });
      default:
        return undefined;
    }
  }
}

/** The parts of a definition that change how a check runs; fields that are undefined do not differ from absent ones. */
function meaningOf(definition: CheckDefinition): Record<string, unknown> {
  const { name: _name, notes: _notes, token: _token, status: _status, ...rest } = definition;
  return Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
}
