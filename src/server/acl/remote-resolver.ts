/**
 * The rights of tokens as a client agent learns them: by asking servers for the token, its roles and its policies, and
 * remembering each for a while. What to do when no server answers is the operator's choice (`acl.down_policy`;
 * reference/server-rpc.md §6.5).
 */
import { type ACLPolicy, type ACLRole, type ACLToken, anonymousTokenSecret, CallError } from '../../model/index.ts';
import type { Clock, Logger } from '../../ports/index.ts';
import type { ServersCaller } from '../router/index.ts';
import { Authorizer, type DefaultPolicy } from './authorizer.ts';
import { Authorizers, policyIdsOf } from './grants.ts';
import { expiryMs, rootDenied, rootSecrets, tokenNotFound } from './resolver.ts';

/** Tokens, roles and policies remembered, of each kind; at more, the oldest go. */
const rememberedMax = 4096;
/** How long an agent whose servers have ACLs off takes its own to be off (ms). */
const disabledMs = 120_000;

export const downPolicies = ['allow', 'deny', 'extend-cache', 'async-cache'] as const;
/**
 * - `allow`, `deny`: everything, nothing.
 * - `extend-cache`: what was last known; of tokens never seen, what the default policy says.
 * - `async-cache`: the same, and what is too old is answered with at once and asked for behind the answer.
 */
export type DownPolicy = (typeof downPolicies)[number];

export interface RemoteAclSettings {
  readonly enabled: boolean;
  readonly defaultPolicy: DefaultPolicy;
  readonly downPolicy: DownPolicy;
  /** How long each is taken to be true (ms). */
  readonly tokenTtlMs: number;
  readonly roleTtlMs: number;
  readonly policyTtlMs: number;
}

export interface RemoteResolver {
  /**
   * The rights of a token; null while ACLs are off here or at the servers.
   * @throws CallError `ACL not found`, `Permission denied…`.
   */
  resolveToken(secret: string): Promise<Authorizer | null>;
  /** The accessor of a token, to be named in logs; "" when it cannot be told. */
  accessorOf(secret: string): Promise<string>;
}

export function createRemoteResolver(options: {
  readonly caller: ServersCaller;
  readonly datacenter: string;
  readonly settings: RemoteAclSettings;
  readonly clock: Clock;
  /** The `agent` logger. */
  readonly logger: Logger;
}): RemoteResolver {
  return new Resolver(options);
}

/** One kind of record, by secret or ID; null = there is none. */
class Remembered<T> {
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #entries = new Map<string, { readonly value: T | null; readonly atMs: number }>();

  constructor(clock: Clock, ttlMs: number) {
    this.#clock = clock;
    this.#ttlMs = ttlMs;
  }

  /** However old; undefined = never seen. */
  get(key: string): T | null | undefined {
    return this.#entries.get(key)?.value;
  }

  isFresh(key: string): boolean {
    const entry = this.#entries.get(key);
    return entry !== undefined && this.#clock.monotonicMs() - entry.atMs < this.#ttlMs;
  }

  put(key: string, value: T | null): void {
    this.#entries.delete(key);
    this.#entries.set(key, { value, atMs: this.#clock.monotonicMs() });
    if (this.#entries.size <= rememberedMax) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      break;
    }
  }

  forget(key: string): void {
    this.#entries.delete(key);
  }
}

class Resolver implements RemoteResolver {
  readonly #caller: ServersCaller;
  readonly #datacenter: string;
  readonly #settings: RemoteAclSettings;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #tokens: Remembered<ACLToken>;
  readonly #roles: Remembered<ACLRole>;
  readonly #policies: Remembered<ACLPolicy>;
  readonly #authorizers: Authorizers;
  /** Questions under way, by secret: all that come meanwhile share the answer. */
  readonly #asking = new Map<string, Promise<void>>();
  #disabledUntilMs = Number.NEGATIVE_INFINITY;

  constructor({ caller, datacenter, settings, clock, logger }: Parameters<typeof createRemoteResolver>[0]) {
    this.#caller = caller;
    this.#datacenter = datacenter;
    this.#settings = settings;
    this.#clock = clock;
    this.#logger = logger.named('acl');
    this.#tokens = new Remembered(clock, settings.tokenTtlMs);
    this.#roles = new Remembered(clock, settings.roleTtlMs);
    this.#policies = new Remembered(clock, settings.policyTtlMs);
    this.#authorizers = new Authorizers(datacenter, settings.defaultPolicy);
  }

  async resolveToken(secret: string): Promise<Authorizer | null> {
    if (!this.#settings.enabled || this.#isDisabled()) return null;
    if (rootSecrets.has(secret)) throw rootDenied();
    const token = secret === '' ? anonymousTokenSecret : secret;
    try {
      await this.#refresh(token);
    } catch (error) {
      if (isVerdict(error)) throw error;
      if (isDisabledText(error)) {
        this.#disabledUntilMs = this.#clock.monotonicMs() + disabledMs;
        this.#logger.debug('ACLs disabled on servers, will retry', { retry_interval: `${disabledMs / 1000}s` });
        return null;
      }
      this.#logger.error('Error resolving token', { error });
      return this.#whenDown();
    }
    return this.#authorizerOf(token);
  }

  async accessorOf(secret: string): Promise<string> {
    if (!this.#settings.enabled || this.#isDisabled() || rootSecrets.has(secret)) return '';
    const token = secret === '' ? anonymousTokenSecret : secret;
    // To name a token in a log is not worth an error of its own.
    await this.#refresh(token).catch(() => undefined);
    return this.#tokens.get(token)?.AccessorID ?? '';
  }

  #isDisabled(): boolean {
    return this.#clock.monotonicMs() < this.#disabledUntilMs;
  }

  #whenDown(): Authorizer {
    const { downPolicy, defaultPolicy } = this.#settings;
    return new Authorizer([], downPolicy === 'allow' || downPolicy === 'deny' ? downPolicy : defaultPolicy);
  }

  /** @throws CallError `ACL not found`. */
  #authorizerOf(secret: string): Authorizer {
    const token = this.#tokens.get(secret);
    if (token === undefined || token === null || expiryMs(token) <= this.#clock.wallMs()) throw tokenNotFound();
    return this.#authorizers.of(token, {
      policy: (id) => this.#policies.get(id),
      role: (id) => this.#roles.get(id),
    });
  }

  /** Sees to it that all that a token's rights follow from is known, and fresh as far as servers answer. */
  async #refresh(secret: string): Promise<void> {
    if (this.#isFresh(secret)) return;
    let asking = this.#asking.get(secret);
    if (asking === undefined) {
      asking = this.#ask(secret).finally(() => this.#asking.delete(secret));
      this.#asking.set(secret, asking);
      // Whoever waits hears of a failure; nobody needs to.
      asking.catch(() => undefined);
    }
    if (this.#settings.downPolicy === 'async-cache' && this.#isKnown(secret)) return;
    await asking;
  }

  #isFresh(secret: string): boolean {
    return this.#tokens.isFresh(secret) && this.#parts(secret).every(([kind, id]) => this.#of(kind).isFresh(id));
  }

  #isKnown(secret: string): boolean {
    return (
      this.#tokens.get(secret) !== undefined &&
      this.#parts(secret).every(([kind, id]) => this.#of(kind).get(id) !== undefined)
    );
  }

  #of(kind: 'role' | 'policy'): Remembered<ACLRole> | Remembered<ACLPolicy> {
    return kind === 'role' ? this.#roles : this.#policies;
  }

  #parts(secret: string): readonly (readonly ['role' | 'policy', string])[] {
    const token = this.#tokens.get(secret);
    if (token === undefined || token === null) return [];
    return [
      ...(token.Roles ?? []).map(({ ID }) => ['role', ID] as const),
      ...this.#policyIds(token).map((id) => ['policy', id] as const),
    ];
  }

  #policyIds(token: ACLToken): readonly string[] {
    const ofRoles = (token.Roles ?? []).flatMap(({ ID }) => this.#roles.get(ID)?.Policies ?? []);
    return [...new Set([...policyIdsOf(token), ...ofRoles.map(({ ID }) => ID)])];
  }

  async #ask(secret: string): Promise<void> {
    try {
      await this.#askToken(secret);
      const token = this.#tokens.get(secret);
      if (token === undefined || token === null) return;
      const common = { Datacenter: this.#datacenter, Token: secret, AllowStale: true };
      await this.#askParts(
        this.#roles,
        (token.Roles ?? []).map(({ ID }) => ID),
        async (RoleIDs) => {
          return (await this.#caller.call('ACL.RoleResolve', { ...common, RoleIDs })).Roles;
        },
      );
      await this.#askParts(this.#policies, this.#policyIds(token), async (PolicyIDs) => {
        return (await this.#caller.call('ACL.PolicyResolve', { ...common, PolicyIDs })).Policies;
      });
    } catch (error) {
      // Rights that were taken away are not to be had by what is remembered of them.
      if (isVerdict(error)) this.#tokens.forget(secret);
      if (textOf(error).includes(tokenNotFound().message)) this.#tokens.put(secret, null);
      throw error;
    }
  }

  async #askToken(secret: string): Promise<void> {
    if (this.#tokens.isFresh(secret)) return;
    const request = { Datacenter: this.#datacenter, TokenID: secret, TokenIDType: 'secret', Token: secret } as const;
    try {
      const { Token, SourceDatacenter } = await this.#caller.call('ACL.TokenRead', { ...request, AllowStale: true });
      if (Token?.Local === true && SourceDatacenter !== undefined && SourceDatacenter !== this.#datacenter) {
        throw new CallError(`Permission denied: This is a local token in datacenter "${SourceDatacenter}"`);
      }
      this.#tokens.put(secret, Token);
    } catch (error) {
      this.#extend(error, this.#tokens, [secret]);
    }
  }

  async #askParts<T extends { readonly ID: string }>(
    remembered: Remembered<T>,
    ids: readonly string[],
    ask: (ids: readonly string[]) => Promise<readonly T[]>,
  ): Promise<void> {
    const stale = ids.filter((id) => !remembered.isFresh(id));
    if (stale.length === 0) return;
    try {
      const found = new Map((await ask(stale)).map((record) => [record.ID, record]));
      for (const id of stale) remembered.put(id, found.get(id) ?? null);
    } catch (error) {
      this.#extend(error, remembered, stale);
    }
  }

  /** When no server answers, what is known stays true for another while, if all of it is known. @throws the error. */
  #extend<T>(error: unknown, remembered: Remembered<T>, keys: readonly string[]): void {
    const { downPolicy } = this.#settings;
    const mayExtend = (downPolicy === 'extend-cache' || downPolicy === 'async-cache') && !isVerdict(error);
    const known = keys.map((key) => [key, remembered.get(key)] as const);
    if (!mayExtend || isDisabledText(error) || known.some(([, value]) => value === undefined)) throw error;
    for (const [key, value] of known) remembered.put(key, value ?? null);
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What a server has said about the token, as opposed to saying nothing. */
function isVerdict(error: unknown): boolean {
  const text = textOf(error);
  return text.includes('ACL not found') || text.includes('Permission denied');
}

function isDisabledText(error: unknown): boolean {
  return textOf(error).includes('ACL support disabled');
}
