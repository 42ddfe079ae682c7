/**
 * How a service says that it is ours (R3, R4). The mark is plain Meta, because Meta is the one thing that survives in
 * the persisted state of any Consul agent: which engine, container and port it stands for, and a digest of the whole
 * definition. The digest is what reconciliation compares, so a changed check interval is seen although no agent tells
 * us the interval back.
 *
 * | key                  | value                                                               |
 * | -------------------- | ------------------------------------------------------------------- |
 * | `external-source`    | `portolan`                                                          |
 * | `portolan-engine`    | id of the engine                                                    |
 * | `portolan-container` | full container id                                                   |
 * | `portolan-port`      | `80/tcp`, with `@9002` for a further binding; "0" without ports     |
 * | `portolan-digest`    | digest of the definition                                            |
 */
import { createHash } from 'node:crypto';
import type { ServiceDefinition } from '../model/index.ts';
import type { HeldService } from './backend.ts';

export const metaKeys = {
  source: 'external-source',
  engine: 'portolan-engine',
  container: 'portolan-container',
  port: 'portolan-port',
  digest: 'portolan-digest',
} as const;

const sourceName = 'portolan';
/** Hex digits of the digest: 64 bits, far more than the definitions one container ever has. */
const digestLength = 16;

export interface Ownership {
  readonly engine: string;
  readonly container: string;
  readonly port: string;
  readonly digest: string;
}

/** Meta pairs of a mark; the digest is added by {@link sealed}. */
export function markOf(ownership: Omit<Ownership, 'digest'>): Record<string, string> {
  return {
    [metaKeys.source]: sourceName,
    [metaKeys.engine]: ownership.engine,
    [metaKeys.container]: ownership.container,
    [metaKeys.port]: ownership.port,
    [metaKeys.digest]: '',
  };
}

/** The definition with its digest. Statuses of fed checks change all the time and are no part of it. */
export function sealed<T extends ServiceDefinition>(definition: T, fedCheckIds: ReadonlySet<string>): T {
  const checks = (definition.checks ?? []).map((check) =>
    check.id !== undefined && fedCheckIds.has(check.id) ? { ...check, status: '' } : check,
  );
  const text = JSON.stringify({ ...definition, checks }, sortedKeys);
  const digest = createHash('sha256').update(text).digest('hex').slice(0, digestLength);
  return { ...definition, meta: { ...definition.meta, [metaKeys.digest]: digest } };
}

/** The mark of a service some agent holds; undefined when it is not ours. */
export function ownershipOf(held: Pick<HeldService, 'meta'>): Ownership | undefined {
  const { [metaKeys.engine]: engine, [metaKeys.container]: container, [metaKeys.port]: port } = held.meta;
  if (engine === undefined || container === undefined || port === undefined || container === '') return undefined;
  return { engine, container, port, digest: held.meta[metaKeys.digest] ?? '' };
}

/**
 * Container name in an ID of the reference program with our own host name in front; undefined for every other ID
 * (§9, step 3).
 */
export function leftoverContainer(id: string, hostname: string): string | undefined {
  const match = /^(.+?):([A-Za-z0-9][A-Za-z0-9_.-]+):[0-9]+(:udp)?$/.exec(id);
  return match !== null && match[1] === hostname ? match[2] : undefined;
}

function sortedKeys(_key: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
