/**
 * The flags of the stand-alone registrator, and the options they mean. The first group is the reference program's own
 * (reference/registrator.md §2), name for name, so that existing start lines keep working; the second is Portolan's.
 */
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { isIPv6 } from 'node:net';
import { parseGoDurationMs } from '../codec/index.ts';
import { collectFacts, decideAdvertise, type EnvironmentFacts } from '../environment/index.ts';
import { DockerodeEngine } from '../node/dockerode-engine.ts';
import { engineEndpoint } from '../node/engine-endpoint.ts';
import { createProbePorts } from '../node/environment-probes.ts';
import { SystemClock } from '../node/system-clock.ts';
import { SystemRandom } from '../node/system-random.ts';
import type { Logger, Metrics } from '../ports/index.ts';
import {
  type AdvertisedAddress,
  checkTargets,
  nameSources,
  namingPolicies,
  parseDeregisterMode,
  type RegistratorOptions,
  registratorOptions,
  stopReactions,
  validateRegistratorOptions,
} from '../registrator/index.ts';
import { CliError, type FlagSpecs, settle, type ValuesOf } from './command.ts';
import { oneOf } from './flags.ts';

/** Where the reference program's image expects the socket, for those who mount it there. */
const engineSocketOfReference = '/tmp/docker.sock';
/** Gossip does not run here; the port only tells the probes which mapping of an own container to look at. */
const gossipPort = 8301;

/** Flags that decide what is registered and how; shared with `registrator explain`. */
export const mappingFlags = {
  ip: { kind: 'string', value: 'ADDR', help: 'Address of every service.' },
  internal: { kind: 'bool', help: 'Register container addresses and ports instead of published ones.' },
  explicit: { kind: 'bool', help: 'Register only ports that a SERVICE_NAME or SERVICE_<port>_NAME applies to.' },
  useIpFromLabel: { kind: 'string', value: 'LABEL', help: 'Use the address in this label of the container.' },
  tags: { kind: 'string', value: 'LIST', help: 'Tags for every service: a comma list or template.' },
  cleanup: { kind: 'bool', help: 'Also remove what the reference program left behind on this host.' },
  deregister: {
    kind: 'string',
    value: 'MODE',
    help: 'When the services of an ended container go: always, on-success, never or keep-critical=DURATION. Default always.',
  },
  resync: { kind: 'int', value: 'SECONDS', help: 'Time between full comparisons. Default 60.' },

  hostname: { kind: 'string', value: 'NAME', help: 'First part of every service ID. Default: the host name.' },
  advertise: {
    kind: 'string',
    value: 'ADDR',
    help: 'Address of this host. Default: found out; see "portolan doctor".',
  },
  'docker-host': { kind: 'string', value: 'URL', help: 'Docker engine. Default: DOCKER_HOST or the usual sockets.' },
  network: { kind: 'list', value: 'NAME', help: 'Networks in order of preference for container addresses.' },
  naming: { kind: 'string', value: 'POLICY', help: `When names get a port: ${namingPolicies.join(', ')}.` },
  'name-from': { kind: 'list', value: 'SOURCE', help: `Where names come from: ${nameSources.join(', ')}.` },
  namespace: { kind: 'string', value: 'NAME', help: 'Namespace of dotted labels. Default portolan.' },
  include: { kind: 'list', value: 'PATTERN', help: 'Only containers with such a name; * is any text.' },
  exclude: { kind: 'list', value: 'PATTERN', help: 'No containers with such a name.' },
  'label-selector': {
    kind: 'list',
    value: 'TERM',
    help: 'Only containers with label key, key=value, or without !key.',
  },
  meta: { kind: 'map', help: 'Metadata for every service; the value is a template.' },
  'auto-meta': { kind: 'bool', help: 'Add container, image and engine as metadata.' },
  loopback: { kind: 'bool', help: 'Register ports that are published on loopback only, too.' },
  'check-target': { kind: 'string', value: 'TARGET', help: `What checks call: ${checkTargets.join(', ')}.` },
  'script-checks': { kind: 'bool', help: 'The agent runs script checks, so register them.' },
  'delay-until-healthy': { kind: 'bool', help: 'Register a container with HEALTHCHECK only when it is healthy.' },
  'on-stop': { kind: 'string', value: 'REACTION', help: `What a stop signal does: ${stopReactions.join(', ')}.` },
} as const satisfies FlagSpecs;

export interface RegistratorWorld {
  readonly engine: DockerodeEngine;
  readonly options: RegistratorOptions;
  readonly clock: SystemClock;
  readonly random: SystemRandom;
}

/** Metrics of a process that has nowhere to show them. */
export const noMetrics: Metrics = { count: () => undefined, gauge: () => undefined, sample: () => undefined };

/**
 * Settles the options and where the engine is; asks this machine for its address.
 * @throws CliError for values that cannot be used.
 */
export async function registratorWorld(
  values: ValuesOf<typeof mappingFlags>,
  env: NodeJS.ProcessEnv,
  logger: Logger,
): Promise<RegistratorWorld> {
  const clock = new SystemClock();
  const random = new SystemRandom();
  const engine = new DockerodeEngine({
    endpoint: settle(() => engineEndpoint(env, values['docker-host'] ?? engineUrl(env))),
    clock,
    random,
    logger,
    metrics: noMetrics,
  });
  const facts = await collectFacts(createProbePorts(clock, engine), { decided: false, metadata: 'auto', gossipPort });
  const advertised = advertisedAddress(facts, values);
  const options = settle(() =>
    registratorOptions({
      hostname: values.hostname ?? hostname(),
      advertise: () => advertised,
      ownContainerIds: facts.container.candidates.map(({ id }) => id),
      scriptChecks: values['script-checks'] ?? false,
      ...optional('ip', values.ip),
      ...optional('internal', values.internal),
      ...optional('explicit', values.explicit),
      ...optional('useIpFromLabel', values.useIpFromLabel),
      ...optional('tags', values.tags),
      ...optional('meta', values.meta),
      ...optional('importLeftovers', values.cleanup),
      ...(values.resync && { resyncMs: values.resync * 1000 }),
      ...(values.deregister && { deregister: parseDeregisterMode(values.deregister, parseGoDurationMs) }),
      ...optional('networks', values.network),
      ...optional('naming', oneOf('naming', values.naming, namingPolicies)),
      ...optional(
        'nameFrom',
        values['name-from']?.map((text) => oneOf('name-from', text, nameSources)!),
      ),
      ...optional('namespace', values.namespace),
      ...optional('include', values.include),
      ...optional('exclude', values.exclude),
      ...optional('labelSelector', values['label-selector']),
      ...optional('autoMeta', values['auto-meta']),
      ...optional('loopback', values.loopback),
      ...optional('checkTarget', oneOf('check-target', values['check-target'], checkTargets)),
      ...optional('delayUntilHealthy', values['delay-until-healthy']),
      ...optional('onStop', oneOf('on-stop', values['on-stop'], stopReactions)),
    }),
  );
  const problems = validateRegistratorOptions(options);
  if (problems.length > 0) throw new CliError(problems.join('\n'));
  return { engine, options, clock, random };
}

/** DOCKER_HOST decides; without it the socket of the reference program's image, when somebody mounted it. */
function engineUrl(env: NodeJS.ProcessEnv): string | undefined {
  return !env.DOCKER_HOST && existsSync(engineSocketOfReference) ? `unix://${engineSocketOfReference}` : undefined;
}

function advertisedAddress(facts: EnvironmentFacts, values: ValuesOf<typeof mappingFlags>): AdvertisedAddress {
  const { address, source, error } = decideAdvertise(facts, {
    advertiseAddr: values.advertise ?? null,
    bindAddr: '0.0.0.0',
    ports: { serfLan: gossipPort, serfWan: 0, server: 0 },
  });
  if (address === null) {
    // With -ip or -internal no published port needs it.
    if (values.ip !== undefined || values.internal) return { source: 'none' };
    throw new CliError(`${error ?? 'no address of this host is known'}; give it with -advertise or -ip`);
  }
  return isIPv6(address) ? { ipv6: address, source } : { ipv4: address, source };
}

function optional<K extends keyof RegistratorOptions>(
  key: K,
  value: RegistratorOptions[K] | undefined,
): Partial<Pick<RegistratorOptions, K>> {
  return value === undefined ? {} : ({ [key]: value } as Pick<RegistratorOptions, K>);
}
