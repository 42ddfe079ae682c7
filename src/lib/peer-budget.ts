/**
 * What is held for one peer, over all its connections: half of a message whose rest may never come, answers that it
 * does not take. Each for itself is small enough, but a peer may have thousands of them.
 */
export class PeerBudget {
  readonly #bytesMax: number;
  readonly #held = new Map<string, number>();

  /** @param bytesMax for each peer. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** For errors and logs. */
  get bytesMax(): number {
    return this.#bytesMax;
  }

  /** Bytes held for a peer. */
  held(peer: string): number {
    return this.#held.get(peer) ?? 0;
  }

  /**
   * Counts bytes that are held from now on, or, below 0, that are no longer.
   * @param peer its address, without port.
   * @returns false when it is too much: whatever asked for it is to be given up, and its bytes given back.
   */
  change(peer: string, bytes: number): boolean {
    if (bytes === 0) return true;
    const held = this.held(peer) + bytes;
    if (held <= 0) this.#held.delete(peer);
    else this.#held.set(peer, held);
    return held <= this.#bytesMax;
  }
}
