/**
 * A binary min-heap. Timers, schedulers and the virtual clock need "the next one" and nothing else; equal keys come
 * out in insertion order, so that a simulation replays exactly from its seed.
 */
export class Heap<T> {
  readonly #items: { readonly key: number; readonly sequence: number; readonly value: T }[] = [];
  #sequence = 0;

  get size(): number {
    return this.#items.length;
  }

  /** The value with the smallest key, left in place. */
  peek(): { readonly key: number; readonly value: T } | undefined {
    return this.#items[0];
  }

  push(key: number, value: T): void {
    const items = this.#items;
    const item = { key, sequence: this.#sequence++, value };
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = items[parent]!;
      if (!before(item, above)) break;
      items[at] = above;
      at = parent;
    }
    items[at] = item;
  }

  /** Removes and returns the value with the smallest key. */
  pop(): T | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (top === undefined || last === undefined) return undefined;
    const size = items.length;
    if (size > 0) {
      let at = 0;
      for (;;) {
        let child = 2 * at + 1;
        if (child >= size) break;
        if (child + 1 < size && before(items[child + 1]!, items[child]!)) child++;
        const below = items[child]!;
        if (!before(below, last)) break;
        items[at] = below;
        at = child;
      }
      items[at] = last;
    }
    return top.value;
  }
}

function before(a: { key: number; sequence: number }, b: { key: number; sequence: number }): boolean {
  return a.key < b.key || (a.key === b.key && a.sequence < b.sequence);
}
