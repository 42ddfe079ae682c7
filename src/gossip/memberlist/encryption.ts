/**
 * AES-GCM around packets and streams: version, nonce, ciphertext, tag (reference/gossip.md §3.6). The key's length
 * selects the variant of AES. Version 0, which pads first, comes from protocol 1 only and is read, not written.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { Keyring } from './keyring.ts';

export type EncryptionVersion = 0 | 1;

const nonceBytes = 12;
const tagBytes = 16;
const blockBytes = 16;
/** What encryption (version 1) adds to a message, bytes. */
export const encryptionOverhead = 1 + nonceBytes + tagBytes;

/** The texts travel back to peers (gossip.md §3.7). */
export class DecryptError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DecryptError';
  }
}

/** @param nonce 12 bytes, never twice with one key. @param associated authenticated with the message, not sent. */
export function encrypt(
  version: EncryptionVersion,
  key: Uint8Array,
  nonce: Uint8Array,
  plain: Uint8Array,
  associated: Uint8Array,
): Uint8Array {
  const cipher = createCipheriv(algorithm(key), key, nonce, { authTagLength: tagBytes });
  cipher.setAAD(associated);
  const body = cipher.update(version === 0 ? pad(plain) : plain);
  const rest = cipher.final();
  return Buffer.concat([Uint8Array.of(version), nonce, body, rest, cipher.getAuthTag()]);
}

/** Opens what any key of the ring closed. @throws DecryptError */
export function decrypt(keyring: Keyring, blob: Uint8Array, associated: Uint8Array): Uint8Array {
  const version = blob[0];
  if (version === undefined) throw new DecryptError('Cannot decrypt empty payload');
  if (version > 1) throw new DecryptError(`Unsupported encryption version ${version}`);
  const minimum = encryptionOverhead + (version === 0 ? blockBytes : 0);
  if (blob.length < minimum) throw new DecryptError(`Payload is too small to decrypt: ${blob.length}`);
  const nonce = blob.subarray(1, 1 + nonceBytes);
  const body = blob.subarray(1 + nonceBytes, blob.length - tagBytes);
  const tag = blob.subarray(blob.length - tagBytes);
  for (const key of keyring.keys) {
    const plain = tryKey(key, nonce, body, tag, associated);
    if (plain !== undefined) return version === 0 ? unpad(plain) : plain;
  }
  throw new DecryptError('No installed keys could decrypt the message');
}

function tryKey(
  key: Uint8Array,
  nonce: Uint8Array,
  body: Uint8Array,
  tag: Uint8Array,
  associated: Uint8Array,
): Uint8Array | undefined {
  const decipher = createDecipheriv(algorithm(key), key, nonce, { authTagLength: tagBytes });
  decipher.setAAD(associated);
  decipher.setAuthTag(tag);
  const plain = decipher.update(body);
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  return plain;
}

function algorithm(key: Uint8Array): 'aes-128-gcm' | 'aes-192-gcm' | 'aes-256-gcm' {
  return key.length === 16 ? 'aes-128-gcm' : key.length === 24 ? 'aes-192-gcm' : 'aes-256-gcm';
}

/** PKCS#7: 1 to 16 bytes, each their number. */
function pad(plain: Uint8Array): Uint8Array {
  const missing = blockBytes - (plain.length % blockBytes);
  const padded = new Uint8Array(plain.length + missing).fill(missing);
  padded.set(plain);
  return padded;
}

function unpad(padded: Uint8Array): Uint8Array {
  const count = padded.at(-1) ?? 0;
  if (count < 1 || count > blockBytes || count > padded.length) throw new DecryptError('The padding is broken');
  return padded.subarray(0, padded.length - count);
}
