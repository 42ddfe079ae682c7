/**
 * The keys a member can decrypt with, and the one it encrypts with, the primary (reference/gossip.md §3.6). Rotation is
 * install everywhere, use everywhere, remove everywhere; at each moment every member can read every other.
 */

/** Key sizes in bytes: AES-128, AES-192, AES-256. */
const keySizes: readonly number[] = [16, 24, 32];

/** A keyring refuses; the texts are the peers' (gossip.md §5.8). */
export class KeyringError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'KeyringError';
  }
}

export class Keyring {
  /** Primary first. */
  #keys: readonly Uint8Array[];

  /**
   * @param keys all keys; the first is the primary. Doubles are dropped.
   * @throws KeyringError on a wrong size or when there is none.
   */
  constructor(keys: readonly Uint8Array[]) {
    if (keys.length === 0) throw new KeyringError('a keyring needs at least one key');
    this.#keys = [];
    for (const key of keys) this.add(key);
  }

  get primary(): Uint8Array {
    return this.#keys[0]!;
  }

  /** All keys, the primary first; a new list after every change. */
  get keys(): readonly Uint8Array[] {
    return this.#keys;
  }

  has(key: Uint8Array): boolean {
    return this.#keys.some((known) => sameBytes(known, key));
  }

  /** Adds a key for decryption; one already there is fine. @throws KeyringError on a wrong size. */
  add(key: Uint8Array): void {
    if (!keySizes.includes(key.length)) throw new KeyringError('key size must be 16, 24 or 32 bytes');
    if (!this.has(key)) this.#keys = [...this.#keys, key.slice()];
  }

  /** Encrypts with this key from now on. @throws KeyringError when it is not on the ring. */
  use(key: Uint8Array): void {
    if (!this.has(key)) throw new KeyringError('Requested key is not in the keyring');
    this.#keys = [key.slice(), ...this.#keys.filter((known) => !sameBytes(known, key))];
  }

  /** Forgets a key; one not there is fine. @throws KeyringError when it is the primary. */
  remove(key: Uint8Array): void {
    if (sameBytes(key, this.primary)) throw new KeyringError('Removing the primary key is not allowed');
    this.#keys = this.#keys.filter((known) => !sameBytes(known, key));
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
