/**
 * Where the registrator keeps what it registers: the agent in the same process, or a foreign Consul agent over HTTP.
 * Reads give what the backend really holds, so that reconciliation compares and never assumes (R1).
 */
import type { CheckStatus, ServiceDefinition } from '../model/index.ts';

/** A service as the backend holds it, reduced to what can be compared with a desired definition. */
export interface HeldService {
  readonly id: string;
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
  /** Checks of the service that exist in the backend: id → current status and output. */
  readonly checks: ReadonlyMap<string, { readonly status: string; readonly output: string; readonly type: string }>;
}

/**
 * A rejection whose error has a numeric `statusCode` means that the backend answered and refused this one request; any
 * other means that it could not be reached, and everything waits until `list` succeeds again.
 */
export interface RegistrationBackend {
  /** Name for messages: `this agent`, `http://10.0.0.1:8500`. */
  readonly name: string;
  /** All services of the agent, ours and others. Rejects when the backend cannot be reached. */
  list(signal?: AbortSignal): Promise<ReadonlyMap<string, HeldService>>;
  /** Creates or replaces a service with exactly these checks; checks with the same ID keep their status (R35). */
  register(definition: ServiceDefinition, signal?: AbortSignal): Promise<void>;
  deregister(serviceId: string, signal?: AbortSignal): Promise<void>;
  /** Sets the status of a check we feed (TTL-type: HEALTHCHECK mirror, exit notes). */
  setCheckStatus(checkId: string, status: CheckStatus, output: string, signal?: AbortSignal): Promise<void>;
}
