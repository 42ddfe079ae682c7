// An authority and what it signs, made for one test.
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { encodePem, makeCertificate } from '../../src/codec/index.ts';

export interface Pair {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export class TestAuthority {
  readonly cert: string;
  readonly #name: string;
  readonly #key: KeyObject;
  #serial = 1n;

  constructor(name = 'test authority') {
    this.#name = name;
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.#key = privateKey;
    this.cert = this.#certificate(name, publicKey, true);
  }

  issue(name: string): Pair {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = privateKey.export({ type: 'sec1', format: 'pem' }).toString();
    return { cert: this.#certificate(name, publicKey, false), key };
  }

  #certificate(commonName: string, publicKey: KeyObject, isAuthority: boolean): string {
    const hourMs = 3_600_000;
    const bytes = makeCertificate({
      serial: this.#serial++,
      commonName,
      issuerName: this.#name,
      uri: `spiffe://test/${encodeURIComponent(commonName)}`,
      notBeforeMs: Date.now() - hourMs,
      notAfterMs: Date.now() + 24 * hourMs,
      publicKey,
      signingKey: this.#key,
      isAuthority,
    });
    return encodePem('CERTIFICATE', bytes);
  }
}
