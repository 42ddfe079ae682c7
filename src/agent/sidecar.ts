/**
 * The sidecar proxy that a service may ask for with one line: a service of its own next to it, with a port from a
 * range, a check that something listens there and one that follows the service (reference/http-api.md §9.1, Sidecar).
 */
import { hostPort } from '../lib/index.ts';
import type { CheckDefinition, ServiceDefinition } from '../model/index.ts';

/** How often the sidecar's listener is tried (ms). */
const listenerCheckIntervalMs = 10_000;
const localServiceAddress = '127.0.0.1';

/** The ID of a service's sidecar. */
export function sidecarIdOf(serviceId: string): string {
  return `${serviceId}-sidecar-proxy`;
}

/**
 * The definition of the sidecar that `definition` asks for; undefined when it asks for none.
 * @param ports range and the ports already taken; `current` is what this sidecar has now, which it keeps.
 * @returns a text when no port is left.
 */
export function sidecarOf(
  definition: ServiceDefinition,
  ports: {
    readonly min: number;
    readonly max: number;
    readonly used: ReadonlySet<number>;
    readonly current: number | undefined;
  },
): ServiceDefinition | string | undefined {
  const asked = definition.connect?.sidecarService;
  if (asked === undefined) return undefined;
  const serviceId = definition.id || definition.name;
  const port = asked.port || ports.current || firstFree(ports);
  if (port === undefined) {
    return `sidecar auto-assignment failed: no free ports between ${ports.min} and ${ports.max}; deregister sidecars, or widen ports.sidecar_min_port and ports.sidecar_max_port`;
  }
  const host = asked.address || localServiceAddress;
  const given = asked.proxy;
  const defaultChecks: readonly CheckDefinition[] = [
    {
      name: 'Connect Sidecar Listening',
      tcp: hostPort(host, port),
      intervalMs: listenerCheckIntervalMs,
    },
    { name: `Connect Sidecar Aliasing ${serviceId}`, aliasService: serviceId },
  ];
  return {
    ...asked,
    id: sidecarIdOf(serviceId),
    name: asked.name || `${definition.name}-sidecar-proxy`,
    kind: 'connect-proxy',
    port,
    tags: asked.tags ?? definition.tags ?? null,
    meta: asked.meta ?? definition.meta ?? null,
    checks: asked.checks?.length ? asked.checks : defaultChecks,
    proxy: {
      ...given,
      MeshGateway: given?.MeshGateway ?? {},
      Expose: given?.Expose ?? {},
      DestinationServiceName: given?.DestinationServiceName || definition.name,
      DestinationServiceID: given?.DestinationServiceID || serviceId,
      LocalServiceAddress: given?.LocalServiceAddress || localServiceAddress,
      ...(given?.LocalServicePort || definition.port
        ? { LocalServicePort: given?.LocalServicePort || definition.port }
        : {}),
    },
  };
}

function firstFree({ min, max, used }: { min: number; max: number; used: ReadonlySet<number> }): number | undefined {
  for (let port = min; port <= max; port++) if (!used.has(port)) return port;
  return undefined;
}
