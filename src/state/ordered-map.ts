/**
 * A map ordered by key, with ranges and an O(1) copy: a B+ tree whose copies share their pages until written.
 * Everything that is listed in order (nodes, instances, checks, KV keys) lives in one.
 */
import sortedBTree from 'sorted-btree';

type BTree<V> = InstanceType<typeof sortedBTree.default<string, V>>;
// The package is CommonJS: some loaders hand out its `default`, others the exports object around it.
const exported = sortedBTree as { readonly default?: typeof sortedBTree.default };
const BTree = exported.default ?? (sortedBTree as unknown as typeof sortedBTree.default);

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Comes behind every string that begins with the same prefix, as byte strings and names in practice hold no such unit. */
const last = '\uffff';

export class OrderedMap<V> {
  readonly #tree: BTree<V>;

  constructor(tree: BTree<V> = new BTree<string, V>(undefined, compare)) {
    this.#tree = tree;
  }

  get size(): number {
    return this.#tree.size;
  }

  get(key: string): V | undefined {
    return this.#tree.get(key);
  }

  has(key: string): boolean {
    return this.#tree.has(key);
  }

  set(key: string, value: V): void {
    this.#tree.set(key, value);
  }

  delete(key: string): boolean {
    return this.#tree.delete(key);
  }

  /** Values in key order, as a new array. */
  values(): V[] {
    return this.#tree.valuesArray();
  }

  /** Values in key order, one by one. The map must not be changed meanwhile; a copy is not. */
  eachValue(): IterableIterator<V> {
    return this.#tree.values();
  }

  /** Calls `visit` in key order. The map must not be changed meanwhile. */
  forEach(visit: (value: V, key: string) => void): void {
    this.#tree.forEachPair((key, value) => {
      visit(value, key);
    });
  }

  /** The same for the keys that begin with `prefix`: costs what it finds. */
  forPrefix(prefix: string, visit: (value: V, key: string) => void): void {
    this.#tree.forRange(prefix, prefix + last, false, (key, value) => {
      visit(value, key);
    });
  }

  /** Up to `limit` values whose keys begin with `prefix`. */
  firstOfPrefix(prefix: string, limit: number): V[] {
    return this.#tree.getRange(prefix, prefix + last, false, limit).map(([, value]) => value);
  }

  /** A copy that later writes do not reach. O(1); the first writes afterwards copy the pages they touch. */
  clone(): OrderedMap<V> {
    return new OrderedMap(this.#tree.clone());
  }
}
