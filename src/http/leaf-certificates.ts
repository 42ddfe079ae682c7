/**
 * Certificates of the services on this agent. The key is made here and never leaves; the servers sign. One certificate
 * is kept per service and token, and replaced long before it ends or when the root has changed
 * (reference/http-api.md §4.3).
 */
import { generateKeyPairSync } from 'node:crypto';
import { encodePem, makeCertificateRequest } from '../codec/index.ts';
import { type CachedCaller, defaultNamespace, type IssuedCert, type NamedCaller, spiffeUri } from '../model/index.ts';
import type { Clock } from '../ports/index.ts';

export interface LeafCertificate extends IssuedCert {
  /** PEM. */
  readonly PrivateKeyPEM: string;
}

/** Certificates kept; at more, the oldest goes. */
const certificatesMax = 4096;
/** A certificate is replaced when this part of its life is over. */
const renewAfter = 0.8;

interface Kept {
  readonly leaf: LeafCertificate;
  readonly rootId: string;
}

export class LeafCertificates {
  readonly #caller: NamedCaller;
  readonly #cache: CachedCaller;
  readonly #clock: Clock;
  readonly #kept = new Map<string, Kept>();

  constructor({
    caller,
    cache,
    clock,
  }: {
    readonly caller: NamedCaller;
    readonly cache: CachedCaller;
    readonly clock: Clock;
  }) {
    this.#caller = caller;
    this.#cache = cache;
    this.#clock = clock;
  }

  /** The certificate of a service, and whether it was there already. @throws CallError the servers' refusal. */
  async get(
    service: string,
    target: { readonly Datacenter: string; readonly Token?: string },
  ): Promise<{ readonly leaf: LeafCertificate; readonly hit: boolean }> {
    const { reply } = await this.#cache.read('ConnectCA.Roots', target);
    const { ActiveRootID, TrustDomain } = reply;
    const key = JSON.stringify([target.Datacenter, target.Token ?? '', service]);
    const kept = this.#kept.get(key);
    if (kept !== undefined && kept.rootId === ActiveRootID && !this.#isOld(kept.leaf)) {
      return { leaf: kept.leaf, hit: true };
    }
    const leaf = await this.#issue(service, TrustDomain, target);
    this.#kept.delete(key);
    if (this.#kept.size >= certificatesMax) {
      for (const oldest of this.#kept.keys()) {
        this.#kept.delete(oldest);
        break;
      }
    }
    this.#kept.set(key, { leaf, rootId: ActiveRootID });
    return { leaf, hit: false };
  }

  #isOld({ ValidAfter, ValidBefore }: LeafCertificate): boolean {
    const from = Date.parse(ValidAfter);
    return this.#clock.wallMs() >= from + (Date.parse(ValidBefore) - from) * renewAfter;
  }

  async #issue(
    service: string,
    trustDomain: string,
    target: { readonly Datacenter: string; readonly Token?: string },
  ): Promise<LeafCertificate> {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const uri = spiffeUri({
      kind: 'service',
      trustDomain,
      namespace: defaultNamespace,
      datacenter: target.Datacenter,
      service,
    });
    const CSR = encodePem('CERTIFICATE REQUEST', makeCertificateRequest(privateKey, service, { uri }));
    const issued = await this.#caller.call('ConnectCA.Sign', { ...target, CSR });
    return { ...issued, PrivateKeyPEM: privateKey.export({ type: 'sec1', format: 'pem' }).toString() };
  }
}
