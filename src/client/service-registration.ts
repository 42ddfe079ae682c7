/**
 * The body of `PUT /v1/agent/service/register` for a definition (reference/http-api.md §9.1): wire names, durations as
 * Go text. What the definition leaves open is left out, so that the agent's own defaults apply.
 */
import { encodeGoJson, formatGoDurationMs } from '../codec/index.ts';
import type { CheckDefinition, ServiceDefinition, SidecarDefinition } from '../model/index.ts';

/** The registration as JSON text. */
export function serviceRegistrationBody(definition: ServiceDefinition): string {
  return encodeGoJson(serviceFields(definition));
}

function serviceFields(definition: ServiceDefinition | SidecarDefinition): Readonly<Record<string, unknown>> {
  const { connect, checks = [] } = definition;
  return {
    Kind: definition.kind,
    ID: definition.id,
    Name: definition.name,
    Tags: definition.tags,
    Address: definition.address,
    Port: definition.port,
    TaggedAddresses: definition.taggedAddresses,
    Meta: definition.meta,
    EnableTagOverride: definition.enableTagOverride,
    Weights: definition.weights,
    Token: definition.token,
    Checks: checks.length === 0 ? undefined : checks.map(checkFields),
    Proxy: definition.proxy,
    Connect: connect && {
      Native: connect.native,
      SidecarService: connect.sidecarService && serviceFields(connect.sidecarService),
    },
  };
}

function checkFields(check: CheckDefinition): Readonly<Record<string, unknown>> {
  return {
    CheckID: check.id,
    Name: check.name,
    Notes: check.notes,
    Status: check.status,
    Interval: duration(check.intervalMs),
    Timeout: duration(check.timeoutMs),
    TTL: duration(check.ttlMs),
    Args: check.scriptArgs,
    DockerContainerID: check.dockerContainerId,
    Shell: check.shell,
    HTTP: check.http,
    Method: check.method,
    Header: check.header,
    Body: check.body,
    TLSSkipVerify: check.tlsSkipVerify,
    TLSServerName: check.tlsServerName,
    TCP: check.tcp,
    GRPC: check.grpc,
    GRPCUseTLS: check.grpcUseTls,
    AliasNode: check.aliasNode,
    AliasService: check.aliasService,
    OutputMaxSize: check.outputMaxSize,
    SuccessBeforePassing: check.successBeforePassing,
    FailuresBeforeCritical: check.failuresBeforeCritical,
    DeregisterCriticalServiceAfter: duration(check.deregisterCriticalServiceAfterMs),
  };
}

function duration(milliseconds: number | undefined): string | undefined {
  return milliseconds === undefined ? undefined : formatGoDurationMs(milliseconds);
}
