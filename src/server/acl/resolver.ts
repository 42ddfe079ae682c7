/**
 * From a token's secret to its authorizer: the rules of its policies, of its roles' policies, and of what service and
 * node identities stand for. The outcome is kept beside the token's record until the record, a policy or a role
 * changes, so a call costs two map look-ups (reference/http-api.md §10).
 */
import { type ACLToken, anonymousTokenSecret, CallError } from '../../model/index.ts';
import type { Clock } from '../../ports/index.ts';
import type { StateStore } from '../../state/index.ts';
import type { Authorizer, DefaultPolicy } from './authorizer.ts';
import { Authorizers, type Grants } from './grants.ts';

/** Secrets that once stood for whole policies and must not be tokens. */
export const rootSecrets: ReadonlySet<string> = new Set(['allow', 'deny', 'manage']);

export interface AclSettings {
  readonly enabled: boolean;
  readonly defaultPolicy: DefaultPolicy;
  /** Listing keys takes the right to list (`acl.enable_key_list_policy`). */
  readonly keyListPolicy: boolean;
}

export const aclSettingsOff: AclSettings = { enabled: false, defaultPolicy: 'allow', keyListPolicy: false };

interface Resolved {
  readonly grantsIndex: number;
  readonly authorizer: Authorizer;
  /** ms since 1970; infinite when the token does not expire. */
  readonly expiresAtMs: number;
}

/** @throws CallError nothing stands behind the secret, or not any more. */
export function tokenNotFound(): CallError {
  return new CallError('ACL not found');
}

export function permissionDenied(): CallError {
  return new CallError('Permission denied');
}

/** When a token's time is over, ms since 1970; infinite when it has no end. */
export function expiryMs({ ExpirationTime }: ACLToken): number {
  return ExpirationTime === null ? Number.POSITIVE_INFINITY : Date.parse(ExpirationTime);
}

export function rootDenied(): CallError {
  return new CallError('Permission denied: Cannot resolve root ACL');
}

export class AclResolver {
  readonly settings: AclSettings;
  readonly #store: StateStore;
  readonly #clock: Clock;
  readonly #resolved = new WeakMap<ACLToken, Resolved>();
  readonly #authorizers: Authorizers;
  readonly #grants: Grants;

  constructor(options: {
    readonly settings: AclSettings;
    readonly datacenter: string;
    readonly store: StateStore;
    readonly clock: Clock;
  }) {
    this.settings = options.settings;
    this.#authorizers = new Authorizers(options.datacenter, options.settings.defaultPolicy);
    this.#store = options.store;
    this.#clock = options.clock;
    const { acl } = options.store;
    this.#grants = { policy: (id) => acl.policyRecord(id), role: (id) => acl.roleRecord(id) };
  }

  get enabled(): boolean {
    return this.settings.enabled;
  }

  /**
   * @param secret "" stands for the anonymous token.
   * @returns null when ACLs are off.
   * @throws CallError `ACL not found`.
   */
  resolve(secret: string): Authorizer | null {
    if (!this.settings.enabled) return null;
    if (rootSecrets.has(secret)) throw rootDenied();
    const { acl } = this.#store;
    const token = acl.tokenRecord(secret === '' ? anonymousTokenSecret : secret);
    if (token === undefined) throw tokenNotFound();
    const { grantsIndex } = acl;
    let resolved = this.#resolved.get(token);
    if (resolved === undefined || resolved.grantsIndex !== grantsIndex) {
      const expiresAtMs = expiryMs(token);
      resolved = { grantsIndex, authorizer: this.#authorizers.of(token, this.#grants), expiresAtMs };
      this.#resolved.set(token, resolved);
    }
    if (resolved.expiresAtMs <= this.#clock.wallMs()) throw tokenNotFound();
    return resolved.authorizer;
  }

  /** Whether the token's time is over: it is as if it were not there, also before it is reaped. */
  isExpired(token: ACLToken): boolean {
    return expiryMs(token) <= this.#clock.wallMs();
  }
}
