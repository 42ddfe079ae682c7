/**
 * A command is applied in one piece or not at all. Tables are changed in place, which is fast; each change leaves its
 * inverse here, and a command that fails half-way is undone backwards. What was touched wakes watchers only when the
 * whole command stands (reference/raft.md §6.4).
 */
import type { SessionChange } from './session-table.ts';
import type { Watches, WatchGroup } from './watches.ts';

export class Transaction {
  /** Log index of the command; becomes the ModifyIndex of what it writes. */
  readonly index: number;
  /** What became of sessions, in order; to be told on when the command stands. */
  readonly sessionChanges: SessionChange[] = [];
  readonly #watches: Watches;
  readonly #inverses: (() => void)[] = [];
  readonly #touched = new Set<WatchGroup>();

  constructor(index: number, watches: Watches) {
    this.index = index;
    this.#watches = watches;
  }

  /** Notes how to take back the change that was just made. */
  onRollback(inverse: () => void): void {
    this.#inverses.push(inverse);
  }

  /** Wakes the watchers of `key` (see watches.ts) when the command is done. */
  touch(key: string): void {
    const group = this.#watches.groupOf(key);
    if (group !== undefined) this.#touched.add(group);
  }

  /** Wakes the watchers of a KV key and of every watched prefix above it. */
  touchKv(key: string): void {
    this.#watches.addGroupsOfKv(key, this.#touched);
  }

  commit(): void {
    if (this.#touched.size > 0) this.#watches.fire(this.#touched);
  }

  /** Takes everything back; what is left to commit is nothing. */
  rollback(): void {
    for (let i = this.#inverses.length - 1; i >= 0; i--) this.#inverses[i]!();
    this.#inverses.length = 0;
    this.#touched.clear();
    this.sessionChanges.length = 0;
  }
}
