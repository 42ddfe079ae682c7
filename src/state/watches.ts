/**
 * Precise watches. A reader that wants to sleep names what its answer depends on (one service, one node, one key, a
 * prefix, a table), and a write wakes exactly the readers that named what it touched. Ten thousand readers of one
 * service share one group: a write finds it by one map look-up, and nobody else is looked at
 * (reference/http-api.md §4.2).
 */
import type { ByteString } from '../lib/index.ts';

/** The names a reader can give. Names of nodes and services match without regard to case, KV keys exactly. */
export const watchKeys = {
  /** Any node row. */
  nodes: 'nodes',
  /** Any service instance. */
  services: 'services',
  /** Any check. */
  checks: 'checks',
  /** Any deletion in the KV table. */
  tombstones: 'tombstones',
  /** Any session. */
  sessions: 'sessions',
  session: (id: string): string => `session:${id.toLowerCase()}`,
  sessionsOfNode: (name: string): string => `sessions-of-node:${name.toLowerCase()}`,
  /** A node's row and the services on it. */
  node: (name: string): string => `node:${name.toLowerCase()}`,
  checksOfNode: (name: string): string => `checks-of-node:${name.toLowerCase()}`,
  checksOfService: (name: string): string => `checks-of-service:${name.toLowerCase()}`,
  checksInState: (state: string): string => `checks-in-state:${state}`,
  /** A service's instances, their checks, their nodes and node checks. */
  service: (name: string): string => `service:${name.toLowerCase()}`,
  /** Which instances are proxies for a service, or speak Connect themselves. */
  connect: (name: string): string => `connect:${name.toLowerCase()}`,
  kv: (key: ByteString): string => kvMark + key,
  kvPrefix: (prefix: ByteString): string => kvPrefixMark + prefix,
};

const kvMark = 'kv:';
const kvPrefixMark = 'kv-prefix:';

interface Watcher {
  readonly keys: readonly string[];
  readonly callback: () => void;
  done: boolean;
}

/** All watchers of one key. */
export interface WatchGroup {
  readonly key: string;
  readonly watchers: Set<Watcher>;
}

export class Watches {
  readonly #groups = new Map<string, WatchGroup>();
  /** Length of each watched KV prefix → how many distinct prefixes have it; a write tries only these lengths. */
  readonly #prefixLengths = new Map<number, number>();

  /** How many keys are watched at present. */
  get size(): number {
    return this.#groups.size;
  }

  /**
   * Calls `callback` once, after the next command that touched any of `keys` has been applied completely.
   * @returns cancels; harmless afterwards.
   */
  watch(keys: readonly string[], callback: () => void): () => void {
    const watcher: Watcher = { keys, callback, done: false };
    for (const key of keys) {
      let group = this.#groups.get(key);
      if (group === undefined) {
        group = { key, watchers: new Set() };
        this.#groups.set(key, group);
        this.#countPrefix(key, 1);
      }
      group.watchers.add(watcher);
    }
    return () => {
      if (watcher.done) return;
      watcher.done = true;
      this.#leave(watcher);
    };
  }

  groupOf(key: string): WatchGroup | undefined {
    return this.#groups.get(key);
  }

  /** Adds to `touched` the groups that the change of KV key `key` concerns. */
  addGroupsOfKv(key: ByteString, touched: Set<WatchGroup>): void {
    const exact = this.#groups.get(kvMark + key);
    if (exact !== undefined) touched.add(exact);
    for (const length of this.#prefixLengths.keys()) {
      if (length > key.length) continue;
      const group = this.#groups.get(kvPrefixMark + key.slice(0, length));
      if (group !== undefined) touched.add(group);
    }
  }

  /** Wakes every watcher of `groups`, each once. */
  fire(groups: ReadonlySet<WatchGroup>): void {
    const woken: Watcher[] = [];
    for (const group of groups) {
      // A callback may watch again at once: that is a new group, woken by the next command.
      if (this.#groups.get(group.key) === group) this.#drop(group.key);
      for (const watcher of group.watchers) {
        if (watcher.done) continue;
        watcher.done = true;
        woken.push(watcher);
      }
    }
    for (const watcher of woken) if (watcher.keys.length > 1) this.#leave(watcher);
    for (const watcher of woken) watcher.callback();
  }

  /** Wakes every watcher there is, each once: whatever they watched is another state now. */
  fireAll(): void {
    this.fire(new Set(this.#groups.values()));
  }

  #leave(watcher: Watcher): void {
    for (const key of watcher.keys) {
      const group = this.#groups.get(key);
      if (group?.watchers.delete(watcher) && group.watchers.size === 0) this.#drop(key);
    }
  }

  #drop(key: string): void {
    this.#groups.delete(key);
    this.#countPrefix(key, -1);
  }

  #countPrefix(key: string, by: 1 | -1): void {
    if (!key.startsWith(kvPrefixMark)) return;
    const length = key.length - kvPrefixMark.length;
    const count = (this.#prefixLengths.get(length) ?? 0) + by;
    if (count === 0) this.#prefixLengths.delete(length);
    else this.#prefixLengths.set(length, count);
  }
}
