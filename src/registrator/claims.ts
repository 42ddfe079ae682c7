/**
 * Which container may hold which service ID. Two containers that ask for one ID (`SERVICE_ID`, or a name that passes
 * from an old container to its replacement) would overwrite each other for ever; the first keeps it, the other waits
 * and is told when it is free. A container that has ended and is only kept gives way to one that runs. Each write to
 * an ID is made by the holder of its claim, whose steps are serial, so writes to one ID never overlap.
 */
export class Claims {
  readonly #holders = new Map<string, { readonly container: string; weak: boolean }>();
  readonly #waiting = new Map<string, Set<string>>();

  /** The container in the way, or undefined when the claim is (now) the asker's. */
  take(id: string, container: string, weak = false): string | undefined {
    const holder = this.#holders.get(id);
    if (holder !== undefined && holder.container !== container && !(holder.weak && !weak)) {
      this.#waiting.set(id, (this.#waiting.get(id) ?? new Set()).add(container));
      return holder.container;
    }
    this.#holders.set(id, { container, weak });
    this.#stopWaiting(id, container);
    return undefined;
  }

  holder(id: string): string | undefined {
    return this.#holders.get(id)?.container;
  }

  /** Gives the claim up; returns the containers that wait for it. */
  release(id: string, container: string): readonly string[] {
    this.#stopWaiting(id, container);
    if (this.#holders.get(id)?.container !== container) return [];
    this.#holders.delete(id);
    const waiting = [...(this.#waiting.get(id) ?? [])];
    this.#waiting.delete(id);
    return waiting;
  }

  #stopWaiting(id: string, container: string): void {
    const waiting = this.#waiting.get(id);
    waiting?.delete(container);
    if (waiting?.size === 0) this.#waiting.delete(id);
  }
}
