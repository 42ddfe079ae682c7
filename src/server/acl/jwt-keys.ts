/**
 * Public keys that login tokens are signed for: given in the configuration, or fetched from who issues the tokens. The
 * issuer changes its keys at will, so fetched ones are fetched again when they are old, and when none of them fits a
 * token; not more often than every few seconds, or anybody could have us ask without end.
 */
import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { GoJsonError, parseGoJson } from '../../codec/index.ts';
import { CallError } from '../../model/index.ts';
import type { Clock, HttpClient } from '../../ports/index.ts';
import { invalidMethod, type KeyOrigin } from './jwt-settings.ts';

/** Longest answer to a request for keys, ms. */
const fetchTimeoutMs = 10_000;
/** Keys are used for so long without asking again, ms. */
const keysMaxAgeMs = 3_600_000;
/** Shortest time between two requests for the same keys, ms. */
const refetchMinMs = 5_000;
/** Keys taken from one list; issuers have two or three. */
const keysMax = 64;

export interface KnownKey {
  /** Name of the key, "" when it has none. */
  readonly id: string;
  readonly key: KeyObject;
}

/** What keys are fetched with. */
export interface KeyFetching {
  readonly clock: Clock;
  readonly http: HttpClient;
}

export interface KeySource {
  /** Whether the keys can be had, asked when a method is set. @throws CallError */
  check(): Promise<void>;
  /** @param refetch whether those known already did not do. @throws CallError */
  keys(refetch: boolean): Promise<readonly KnownKey[]>;
}

export function keySource(origin: KeyOrigin, fetching: KeyFetching): KeySource {
  if (origin.kind === 'keys') {
    const known = origin.keys.map((key) => ({ id: '', key }));
    return { check: () => Promise.resolve(), keys: () => Promise.resolve(known) };
  }
  const get = (url: string): Promise<string> => fetchText(url, origin.ca, fetching);
  if (origin.kind === 'jwks') {
    const fetched = new FetchedKeys(fetching.clock, () => fetchKeys(origin.url, get));
    return {
      check: async () => {
        await named('JWKSURL', () => fetchKeys(origin.url, get));
      },
      keys: (refetch) => fetched.get(refetch),
    };
  }
  const fetched = new FetchedKeys(fetching.clock, async () => fetchKeys(await discover(origin.url, get), get));
  return {
    check: async () => {
      await named('OIDCDiscoveryURL', () => discover(origin.url, get));
    },
    keys: (refetch) => fetched.get(refetch),
  };
}

async function named<T>(setting: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    throw invalidMethod(`error checking ${setting}: ${error.message}`);
  }
}

class FetchedKeys {
  readonly #clock: Clock;
  readonly #fetch: () => Promise<readonly KnownKey[]>;
  #keys: readonly KnownKey[] | null = null;
  #fetchedMs = 0;
  /** All who wait meanwhile wait for the same answer. */
  #underWay: Promise<readonly KnownKey[]> | null = null;

  constructor(clock: Clock, fetch: () => Promise<readonly KnownKey[]>) {
    this.#clock = clock;
    this.#fetch = fetch;
  }

  get(refetch: boolean): Promise<readonly KnownKey[]> {
    const ageMs = this.#clock.monotonicMs() - this.#fetchedMs;
    if (this.#keys !== null && ageMs < (refetch ? refetchMinMs : keysMaxAgeMs)) return Promise.resolve(this.#keys);
    this.#underWay ??= this.#fetch()
      .then((keys) => {
        this.#keys = keys;
        this.#fetchedMs = this.#clock.monotonicMs();
        return keys;
      })
      .finally(() => {
        this.#underWay = null;
      });
    return this.#underWay;
  }
}

async function fetchKeys(url: string, get: (url: string) => Promise<string>): Promise<readonly KnownKey[]> {
  let text: string;
  try {
    text = await get(url);
  } catch (error) {
    if (error instanceof StatusError)
      throw new CallError(`fetching keys oidc: get keys failed: ${error.message} ${error.body}`);
    throw new CallError(`fetching keys oidc: get keys failed ${(error as Error).message}`, { cause: error });
  }
  const { keys } = parsed(text, 'fetching keys oidc: failed to decode keys');
  return (Array.isArray(keys) ? (keys as unknown[]) : []).slice(0, keysMax).flatMap((given) => {
    const jwk = given as (JsonWebKey & { readonly kid?: unknown; readonly use?: unknown }) | null;
    if (typeof jwk !== 'object' || jwk === null || (jwk.use !== undefined && jwk.use !== 'sig')) return [];
    try {
      return [{ id: typeof jwk.kid === 'string' ? jwk.kid : '', key: createPublicKey({ key: jwk, format: 'jwk' }) }];
    } catch {
      // Of a kind that nobody here can check.
      return [];
    }
  });
}

/** Where an OpenID provider has its keys (OpenID Connect Discovery 1.0 §4). */
async function discover(issuer: string, get: (url: string) => Promise<string>): Promise<string> {
  let text: string;
  try {
    text = await get(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
  } catch (error) {
    if (error instanceof StatusError) throw new CallError(`${error.message}: ${error.body}`);
    throw new CallError((error as Error).message, { cause: error });
  }
  const found = parsed(text, 'oidc: failed to decode provider discovery object');
  if (found['issuer'] !== issuer) {
    const told = typeof found['issuer'] === 'string' ? found['issuer'] : '';
    throw new CallError(
      `oidc: issuer did not match the issuer returned by provider, ` +
        `expected ${JSON.stringify(issuer)} got ${JSON.stringify(told)}`,
    );
  }
  return typeof found['jwks_uri'] === 'string' ? found['jwks_uri'] : '';
}

class StatusError extends Error {
  readonly body: string;

  constructor(status: string, body: string) {
    super(status);
    this.name = 'StatusError';
    this.body = body;
  }
}

async function fetchText(url: string, ca: string, { clock, http }: KeyFetching): Promise<string> {
  const scheme = /^([a-z][a-z\d+.-]*):/i.exec(url)?.[1]?.toLowerCase() ?? '';
  const failed = (why: string): Error => new Error(`Get ${JSON.stringify(url)}: ${why}`);
  if (scheme !== 'http' && scheme !== 'https') throw failed(`unsupported protocol scheme ${JSON.stringify(scheme)}`);
  if (!URL.canParse(url)) throw failed('invalid URL');
  const limit = new AbortController();
  const timer = clock.after(fetchTimeoutMs, () => limit.abort(new Error('context deadline exceeded')));
  try {
    const request = { method: 'GET', url, headers: {}, signal: limit.signal, ...(ca === '' ? {} : { ca }) } as const;
    const { status, statusText, body } = await http(request).catch((error: unknown) => {
      throw failed((error as Error).message);
    });
    if (status === 200) return body;
    throw new StatusError(`${status} ${statusText}`, body);
  } finally {
    timer.cancel();
  }
}

function parsed(text: string, problem: string): Readonly<Record<string, unknown>> {
  try {
    const value = parseGoJson(Buffer.from(text));
    if (typeof value === 'object' && value !== null) return value as Readonly<Record<string, unknown>>;
    throw new CallError(`${problem}: it is no object`);
  } catch (error) {
    if (error instanceof GoJsonError) throw new CallError(`${problem}: ${error.message}`);
    throw error;
  }
}
