/**
 * Config entries: one per kind and name. A write is refused when it would leave a discovery chain that cannot be
 * compiled, or a gateway that does not fit the services behind it (reference/raft.md §6.8).
 */
import {
  CallError,
  type ConfigEntry,
  type ConfigEntryKind,
  type ConfigEntryOf,
  type ConfigEntryRequest,
  wildcard,
} from '../model/index.ts';
import { compileDiscoveryChain, type FindEntry, protocolOf } from './discovery-chain.ts';
import type { IndexRows } from './index-rows.ts';
import { RowTable } from './row-table.ts';
import type { Answer } from './store.ts';
import type { Transaction } from './transaction.ts';

type WatchList = string[] | undefined;

/** Names are compared without regard to case. NUL stands in no kind. */
function keyOf(kind: string, name: string): string {
  return `${kind}\0${name.toLowerCase()}`;
}

/** Kinds that a discovery chain begins with. */
const chainKinds = ['service-router', 'service-splitter', 'service-resolver'] as const;
type ChainEntry = ConfigEntryOf<(typeof chainKinds)[number]>;

export class ConfigEntryTable {
  readonly #table: RowTable<ConfigEntry>;

  constructor(rows: IndexRows) {
    this.#table = new RowTable('config-entries', rows, ({ Kind, Name }) => keyOf(Kind, Name));
  }

  /** All entries, by kind, then name; the same array until one changes. */
  get all(): readonly ConfigEntry[] {
    return this.#table.list;
  }

  /** The entry itself, without index. */
  find<K extends ConfigEntryKind>(kind: K, name: string): ConfigEntryOf<K> | undefined {
    return this.#table.get(keyOf(kind, name)) as ConfigEntryOf<K> | undefined;
  }

  get(kind: string, name: string, watch?: WatchList): Answer<ConfigEntry | undefined> {
    const key = keyOf(kind, name);
    watch?.push(this.#table.rowWatchKey(key));
    return { index: this.#table.index, result: this.#table.get(key) };
  }

  /** Those of one kind by name; "" for all kinds. */
  list(kind: string, watch?: WatchList): Answer<readonly ConfigEntry[]> {
    const result = kind === '' ? this.all : this.#table.ofPrefix(keyOf(kind, ''));
    return { index: this.index(watch), result };
  }

  /** Index of the table, for what is made of many entries. */
  index(watch?: WatchList): number {
    watch?.push(this.#table.watchKey);
    return this.#table.index;
  }

  /** Every entry of a kind, typed. */
  ofKind<K extends ConfigEntryKind>(kind: K): readonly ConfigEntryOf<K>[] {
    return this.#table.ofPrefix(keyOf(kind, '')) as readonly ConfigEntryOf<K>[];
  }

  /** A row of a snapshot, as it is. */
  restore(tx: Transaction, entry: ConfigEntry): void {
    this.#table.put(tx, Object.freeze(entry));
  }

  apply(tx: Transaction, { Op, Entry }: ConfigEntryRequest): boolean | null {
    const key = keyOf(Entry.Kind, Entry.Name);
    const before = this.#table.get(key);
    if (Op === 'delete') {
      if (before === undefined) return null;
      this.#refuseBroken(Entry.Kind, Entry.Name, undefined);
      this.#table.remove(tx, key);
      return null;
    }
    if (Op === 'upsert-cas' && (Entry.ModifyIndex ?? 0) !== (before?.ModifyIndex ?? 0)) return false;
    const CreateIndex = before?.CreateIndex ?? tx.index;
    const entry: ConfigEntry = Object.freeze({ ...Entry, CreateIndex, ModifyIndex: tx.index });
    this.#refuseBroken(entry.Kind, entry.Name, entry);
    this.#table.put(tx, entry);
    return true;
  }

  /** @throws CallError when, with `next` in the place of the entry, something would not fit together any more. */
  #refuseBroken(kind: ConfigEntryKind, name: string, next: ConfigEntry | undefined): void {
    if (next?.Kind === 'ingress-gateway' || next?.Kind === 'terminating-gateway') this.#refuseClash(next);
    if (kind === 'terminating-gateway') return;
    const changed = keyOf(kind, name);
    const find: FindEntry = <K extends ConfigEntryKind>(ofKind: K, ofName: string) =>
      keyOf(ofKind, ofName) === changed ? (next as ConfigEntryOf<K> | undefined) : this.find(ofKind, ofName);
    const everywhere = kind === 'proxy-defaults';
    if (kind !== 'ingress-gateway') {
      for (const service of this.#chainsOf(everywhere ? undefined : name)) {
        compileDiscoveryChain(find, { service, datacenter: 'dc1', useIn: 'dc1', trustDomain: trustDomainForChecks });
      }
    }
    const gateways =
      next?.Kind === 'ingress-gateway'
        ? [next]
        : kind === 'ingress-gateway'
          ? []
          : this.ofKind('ingress-gateway').filter(
              (gateway) => everywhere || exposedServices(gateway).some(([service]) => service === name),
            );
    for (const gateway of gateways) refuseOtherProtocols(find, gateway);
  }

  /** Services whose chains `name` is part of, itself first; all of them when it is undefined. */
  #chainsOf(name: string | undefined): readonly string[] {
    const services = new Set<string>(name === undefined ? [] : [name]);
    for (const kind of chainKinds) {
      for (const entry of this.ofKind(kind)) {
        if (name === undefined || mentions(entry, name)) services.add(entry.Name);
      }
    }
    return [...services];
  }

  #refuseClash(entry: ConfigEntryOf<'ingress-gateway' | 'terminating-gateway'>): void {
    const other = entry.Kind === 'ingress-gateway' ? 'terminating-gateway' : 'ingress-gateway';
    if (this.find(other, entry.Name) === undefined) return;
    throw new CallError(
      `cannot create a ${JSON.stringify(entry.Kind)} config entry with name ${JSON.stringify(entry.Name)}, ` +
        `a ${JSON.stringify(other)} config entry with that name already exists`,
    );
  }
}

/** Chains are compiled here to see whether they can be; the name in them does not matter. */
const trustDomainForChecks = 'b6fc9da3-03d4-4b5a-9134-c045e9b20152.consul';

/** Whether the entry sends requests to the service. */
function mentions(entry: ChainEntry, service: string): boolean {
  switch (entry.Kind) {
    case 'service-router':
      return entry.Routes?.some(({ Destination }) => Destination?.Service === service) ?? false;
    case 'service-splitter':
      return entry.Splits?.some(({ Service }) => Service === service) ?? false;
    case 'service-resolver':
      return (
        entry.Redirect?.Service === service ||
        Object.values(entry.Failover ?? {}).some(({ Service }) => Service === service)
      );
  }
}

/** Service name → protocol of the listener it is behind. */
function exposedServices({ Listeners = [] }: ConfigEntryOf<'ingress-gateway'>): readonly (readonly [string, string])[] {
  return Listeners.flatMap(({ Protocol = 'tcp', Services = [] }) =>
    Services.map(({ Name = '' }) => [Name, Protocol] as const).filter(([name]) => name !== wildcard),
  );
}

function refuseOtherProtocols(find: FindEntry, gateway: ConfigEntryOf<'ingress-gateway'>): void {
  for (const [service, wanted] of exposedServices(gateway)) {
    const protocol = protocolOf(find, service);
    if (protocol === wanted) continue;
    throw new CallError(
      `service "${service}" has protocol "${protocol}", which does not match defined listener protocol "${wanted}"`,
    );
  }
}

export function applyConfigEntry(
  { configEntries }: { readonly configEntries: ConfigEntryTable },
  tx: Transaction,
  request: ConfigEntryRequest,
): boolean | null {
  return configEntries.apply(tx, request);
}
