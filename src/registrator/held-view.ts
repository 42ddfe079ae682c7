/**
 * What the backend holds, as far as we know: its last list, kept up to date with our own writes. A list that was asked
 * for before one of our writes ended is older than that write, so those services keep what we know of them.
 */
import type { ServiceDefinition } from '../model/index.ts';
import type { HeldService } from './backend.ts';
import type { DesiredService } from './mapping.ts';
import { metaKeys, type Ownership, ownershipOf } from './ownership.ts';

interface Entry {
  readonly held: HeldService;
  readonly owner: Ownership | undefined;
  /** A write failed and may still have been done: never equal to anything. */
  readonly uncertain: boolean;
}

export class HeldView {
  #entries = new Map<string, Entry>();
  /** Service ids by container, for services with any mark of ours. */
  #byContainer = new Map<string, Set<string>>();
  /** Ids written while a list is under way. */
  #written: Set<string> | undefined;

  get(id: string): HeldService | undefined {
    return this.#entries.get(id)?.held;
  }

  all(): Iterable<HeldService> {
    return [...this.#entries.values()].map((entry) => entry.held);
  }

  /** Our services of one container on one of these engines. */
  ownedBy(container: string, engines: ReadonlySet<string>): string[] {
    return [...(this.#byContainer.get(container) ?? [])].filter((id) =>
      engines.has(this.#entries.get(id)!.owner!.engine),
    );
  }

  /** Containers that have services of ours on one of these engines. */
  owners(engines: ReadonlySet<string>): string[] {
    return [...this.#byContainer.keys()].filter((container) => this.ownedBy(container, engines).length > 0);
  }

  /** Reads the backend's list. */
  async refresh(list: () => Promise<ReadonlyMap<string, HeldService>>): Promise<void> {
    const written = new Set<string>();
    this.#written = written;
    try {
      const listed = await list();
      const before = this.#entries;
      this.#entries = new Map();
      this.#byContainer = new Map();
      for (const [id, held] of listed)
        if (!written.has(id)) this.#put(id, { held, owner: ownershipOf(held), uncertain: false });
      for (const id of written) {
        const entry = before.get(id);
        if (entry !== undefined) this.#put(id, entry);
      }
    } finally {
      this.#written = undefined;
    }
  }

  /** Before and after every write of the id. */
  touch(id: string): void {
    this.#written?.add(id);
  }

  /** A registration was accepted. */
  registered(definition: ServiceDefinition & { readonly id: string }): void {
    this.#store(definition, false);
  }

  /** A registration failed: the backend may have it or not. */
  unsure(definition: ServiceDefinition & { readonly id: string }): void {
    this.#store(definition, true);
  }

  /** Something about the service is not as we believed: the next look writes it again. */
  doubt(id: string): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) this.#put(id, { ...entry, uncertain: true });
    this.touch(id);
  }

  deregistered(id: string): void {
    this.touch(id);
    const entry = this.#entries.get(id);
    this.#entries.delete(id);
    if (entry?.owner !== undefined) this.#unlink(entry.owner.container, id);
  }

  checkFed(serviceId: string, checkId: string, status: string, output: string): void {
    const entry = this.#entries.get(serviceId);
    if (entry === undefined) return;
    const checks = new Map(entry.held.checks).set(checkId, { status, output, type: 'ttl' });
    this.#put(serviceId, { ...entry, held: { ...entry.held, checks } });
    this.touch(serviceId);
  }

  /** Whether nothing needs to be written for this service (R2, R5). */
  holds(desired: DesiredService): boolean {
    const entry = this.#entries.get(desired.id);
    if (entry === undefined || entry.uncertain) return false;
    const { held } = entry;
    const { definition } = desired;
    return (
      held.name === definition.name &&
      held.address === definition.address &&
      held.port === definition.port &&
      sameMeta(held.meta, definition.meta ?? {}) &&
      // With tag override the tags are other people's to change.
      (definition.enableTagOverride === true || sameList(held.tags, definition.tags ?? [])) &&
      (definition.checks ?? []).every((check) => held.checks.has(check.id!))
    );
  }

  #store(definition: ServiceDefinition & { readonly id: string }, uncertain: boolean): void {
    const known = this.#entries.get(definition.id);
    const held: HeldService = {
      id: definition.id,
      name: definition.name,
      address: definition.address ?? '',
      port: definition.port ?? 0,
      tags: definition.tags ?? [],
      meta: definition.meta ?? {},
      checks: new Map(
        (definition.checks ?? []).map((check) => [
          check.id!,
          known?.held.checks.get(check.id!) ?? { status: check.status ?? 'critical', output: '', type: '' },
        ]),
      ),
    };
    this.#put(definition.id, { held, owner: ownershipOf(held), uncertain });
    this.touch(definition.id);
  }

  #put(id: string, entry: Entry): void {
    const before = this.#entries.get(id);
    if (before?.owner !== undefined && before.owner.container !== entry.owner?.container) {
      this.#unlink(before.owner.container, id);
    }
    this.#entries.set(id, entry);
    if (entry.owner === undefined) return;
    const ids = this.#byContainer.get(entry.owner.container) ?? new Set<string>();
    this.#byContainer.set(entry.owner.container, ids.add(id));
  }

  #unlink(container: string, id: string): void {
    const ids = this.#byContainer.get(container);
    ids?.delete(id);
    if (ids?.size === 0) this.#byContainer.delete(container);
  }
}

/** Meta with the digest: equal Meta means equal definitions. */
function sameMeta(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  if (a[metaKeys.digest] !== b[metaKeys.digest]) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each, index) => each === b[index]);
}
