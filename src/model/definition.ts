/**
 * What a user asks for: service and check definitions from files, the HTTP API or the registrator, decoded and with
 * aliases resolved, not yet defaulted. Durations in milliseconds (the sources hold Go durations).
 */
import type { ConnectProxyConfig, ServiceAddress, ServiceKind, Weights } from './catalog.ts';

export interface CheckDefinition {
  /** Check ID; defaults to the name, or `service:<id>[:n]` inside a service. */
  readonly id?: string;
  readonly name?: string;
  readonly notes?: string;
  readonly serviceId?: string;
  readonly token?: string;
  /** Initial status. */
  readonly status?: string;
  readonly intervalMs?: number;
  readonly timeoutMs?: number;
  readonly ttlMs?: number;
  readonly scriptArgs?: readonly string[];
  readonly dockerContainerId?: string;
  readonly shell?: string;
  readonly http?: string;
  readonly method?: string;
  readonly header?: Readonly<Record<string, readonly string[]>>;
  readonly body?: string;
  readonly tlsSkipVerify?: boolean;
  /** TLS name to expect, when it differs from the host part (Portolan's addition; registrator R33). */
  readonly tlsServerName?: string;
  readonly tcp?: string;
  /** `host:port[/service]`. */
  readonly grpc?: string;
  readonly grpcUseTls?: boolean;
  readonly aliasNode?: string;
  readonly aliasService?: string;
  readonly outputMaxSize?: number;
  readonly successBeforePassing?: number;
  readonly failuresBeforeCritical?: number;
  readonly deregisterCriticalServiceAfterMs?: number;
}

export interface SidecarDefinition extends Omit<ServiceDefinition, 'name'> {
  readonly name?: string;
}

export interface ServiceDefinition {
  readonly id?: string;
  readonly name: string;
  readonly kind?: ServiceKind;
  /** undefined = not given (nil on the wire); an empty list is another value. */
  readonly tags?: readonly string[] | null;
  readonly address?: string;
  readonly port?: number;
  readonly meta?: Readonly<Record<string, string>> | null;
  readonly taggedAddresses?: Readonly<Record<string, ServiceAddress>> | null;
  readonly enableTagOverride?: boolean;
  readonly weights?: Weights;
  readonly token?: string;
  readonly checks?: readonly CheckDefinition[];
  readonly proxy?: ConnectProxyConfig;
  readonly connect?: { readonly native?: boolean; readonly sidecarService?: SidecarDefinition };
}

/** The `type` column of a check, by first match (reference/agent.md §4.1); "" when none is given. */
export function checkTypeOf(check: CheckDefinition): string {
  if (check.grpc) return 'grpc';
  if (check.http) return 'http';
  if (check.ttlMs !== undefined && check.ttlMs !== 0) return 'ttl';
  if (check.tcp) return 'tcp';
  if (check.aliasNode || check.aliasService) return 'alias';
  if (check.dockerContainerId) return 'docker';
  if (check.scriptArgs && check.scriptArgs.length > 0) return 'script';
  return '';
}
