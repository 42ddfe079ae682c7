/**
 * Auth methods of type `jwt`: a signed token of somebody else's says who logs in. The signature is checked with public
 * keys that the method's configuration gives or names a place for; then issuer, audience and times; then claims become
 * values and lists that binding rules can use (reference/http-api.md §9.11). The texts are the peer's, which tell the
 * library at fault.
 */
import { type KeyObject, verify } from 'node:crypto';
import { GoJsonError, parseGoJson } from '../../codec/index.ts';
import { CallError } from '../../model/index.ts';
import { type KeyFetching, type KeySource, keySource, type KnownKey } from './jwt-keys.ts';
import { type JwtAlgorithm, type JwtSettings, readJwtSettings } from './jwt-settings.ts';

/** Longest login token, characters; headers of common servers allow no more. */
const bearerMax = 64 * 1024;
/** How much before its `nbf` a token of an OpenID provider is good, seconds. */
const providerNotBeforeLeewaySeconds = 60;
/** What OpenID providers sign with unless the method says otherwise. */
const providerAlgorithms: readonly string[] = ['RS256'];

/** What a login is known by. */
export interface Identity {
  readonly values: Readonly<Record<string, string>>;
  readonly lists: Readonly<Record<string, readonly string[]>>;
}

/** Checks logins of one auth method. */
export interface Validator {
  /** Names that identities have, with nothing in them: for checking rules before anybody logs in. */
  readonly blank: Identity;
  /** What takes asking others, done when a method is set. @throws CallError the configuration does not work. */
  check(): Promise<void>;
  /** @throws CallError the token is not good. */
  validate(bearer: string, nowMs: number): Promise<Identity>;
}

type SignCheck = (key: KeyObject, data: Uint8Array, signature: Uint8Array) => boolean;

const rsa =
  (hash: string, options: { readonly padding?: number; readonly saltLength?: number } = {}): SignCheck =>
  (key, data, signature) =>
    key.asymmetricKeyType === 'rsa' && verify(hash, data, { key, ...options }, signature);
const rsaPss = 6;
const saltLikeDigest = -1;
const pss = (hash: string): SignCheck => rsa(hash, { padding: rsaPss, saltLength: saltLikeDigest });
const ec =
  (hash: string, curve: string): SignCheck =>
  (key, data, signature) =>
    key.asymmetricKeyDetails?.namedCurve === curve && verify(hash, data, { key, dsaEncoding: 'ieee-p1363' }, signature);

const signChecks: Readonly<Record<JwtAlgorithm, SignCheck>> = {
  RS256: rsa('sha256'),
  RS384: rsa('sha384'),
  RS512: rsa('sha512'),
  PS256: pss('sha256'),
  PS384: pss('sha384'),
  PS512: pss('sha512'),
  ES256: ec('sha256', 'prime256v1'),
  ES384: ec('sha384', 'secp384r1'),
  ES512: ec('sha512', 'secp521r1'),
};

/** @throws CallError what is wrong with the configuration. */
export function jwtValidator(config: Readonly<Record<string, unknown>> | null, fetching: KeyFetching): Validator {
  const settings = readJwtSettings(config);
  const source = keySource(settings.origin, fetching);
  const blankOf = <T>(mappings: Readonly<Record<string, string>>, empty: T): Readonly<Record<string, T>> =>
    Object.fromEntries(Object.values(mappings).map((name) => [name, empty]));
  return {
    blank: { values: blankOf(settings.claims, ''), lists: blankOf<readonly string[]>(settings.listClaims, []) },
    check: () => source.check(),
    validate: async (bearer, nowMs) => {
      const claims = await verifiedClaims(settings, source, bearer, nowMs / 1000);
      checkClaims(settings, claims, nowMs / 1000);
      return identityOf(settings, claims);
    },
  };
}

type Claims = Readonly<Record<string, unknown>>;

interface Token {
  readonly header: Claims;
  /** Null when they are no claims. */
  readonly claims: Claims | null;
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
}

async function verifiedClaims(
  settings: JwtSettings,
  source: KeySource,
  bearer: string,
  nowSeconds: number,
): Promise<Claims> {
  if (bearer === '') throw new CallError('missing jwt');
  const { origin } = settings;
  switch (origin.kind) {
    case 'keys': {
      const token = parseToken(bearer, 'error parsing token: ');
      if (token.claims !== null && (await isSigned(settings, source, token))) return token.claims;
      throw new CallError('no known key successfully validated the token signature');
    }
    case 'jwks': {
      const token = parseToken(bearer, 'error verifying token: oidc: malformed jwt: ');
      if (token.claims !== null && (await isSigned(settings, source, token))) return token.claims;
      throw new CallError('error verifying token: failed to verify id token signature');
    }
    case 'oidc': {
      const token = parseToken(bearer, 'error validating signature: oidc: malformed jwt: ');
      return await verifiedByProvider(settings, source, token, origin.url, nowSeconds);
    }
  }
}

/** A provider's token is looked at as an OpenID token (OpenID Connect Core 1.0 §3.1.3.7), without its audience. */
async function verifiedByProvider(
  settings: JwtSettings,
  source: KeySource,
  token: Token,
  provider: string,
  nowSeconds: number,
): Promise<Claims> {
  const refuse = (what: string): CallError => new CallError(`error validating signature: ${what}`);
  const claims = token.claims ?? {};
  const issuer = typeof claims['iss'] === 'string' ? claims['iss'] : '';
  if (issuer !== provider) {
    throw refuse(
      `oidc: id token issued by a different provider, expected ${JSON.stringify(provider)} got ${JSON.stringify(issuer)}`,
    );
  }
  const expires = typeof claims['exp'] === 'number' ? claims['exp'] : undefined;
  if (expires === undefined || expires < nowSeconds) {
    throw refuse(`oidc: token is expired (Token Expiry: ${goTime(expires)})`);
  }
  const notBefore = claims['nbf'];
  if (typeof notBefore === 'number' && nowSeconds + providerNotBeforeLeewaySeconds < notBefore) {
    throw refuse(`oidc: current time ${goTime(nowSeconds)} before the nbf (not before) time: ${goTime(notBefore)}`);
  }
  const allowed = settings.algorithms.length > 0 ? settings.algorithms : providerAlgorithms;
  const algorithm = algorithmOf(token);
  if (!allowed.includes(algorithm)) {
    throw refuse(
      `oidc: id token signed with unsupported algorithm, ` +
        `expected [${allowed.map((name) => JSON.stringify(name)).join(' ')}] got ${JSON.stringify(algorithm)}`,
    );
  }
  if (await isSigned(settings, source, token)) return claims;
  throw refuse('failed to verify signature: failed to verify id token signature');
}

/** Asks for new keys when none of those known fits. */
async function isSigned({ algorithms }: JwtSettings, source: KeySource, token: Token): Promise<boolean> {
  const { header, signed, signature } = token;
  const algorithm = algorithmOf(token);
  // What must be understood is not (RFC 7515 §4.1.11).
  if (header['crit'] !== undefined || (algorithms.length > 0 && !algorithms.includes(algorithm))) return false;
  const check = Object.hasOwn(signChecks, algorithm) ? signChecks[algorithm as JwtAlgorithm] : undefined;
  if (check === undefined) return false;
  const wanted = typeof header['kid'] === 'string' ? header['kid'] : '';
  const fits = ({ id, key }: KnownKey): boolean =>
    (wanted === '' || id === '' || id === wanted) && check(key, signed, signature);
  return (await source.keys(false)).some(fits) || (await source.keys(true)).some(fits);
}

function algorithmOf({ header }: Token): string {
  return typeof header['alg'] === 'string' ? header['alg'] : '';
}

/** @param before what is said in front of a problem. @throws CallError */
function parseToken(bearer: string, before: string): Token {
  const parts = bearer.length > bearerMax ? [] : bearer.split('.');
  if (parts.length !== 3) {
    throw new CallError(`${before}square/go-jose: compact JWS format must have three parts`);
  }
  const [head = '', body = '', signature = ''] = parts;
  const bytes = (part: string): Uint8Array => {
    const odd = part.search(/[^\w-]/);
    const end = odd >= 0 ? odd : part.length % 4 === 1 ? part.length - 1 : -1;
    if (end >= 0) throw new CallError(`${before}illegal base64 data at input byte ${end}`);
    return Buffer.from(part, 'base64url');
  };
  let header: unknown;
  try {
    const given = bytes(head);
    header = given.length === 0 ? {} : parseGoJson(given);
  } catch (error) {
    if (!(error instanceof GoJsonError)) throw error;
    throw new CallError(`${before}${error.message}`);
  }
  return {
    header: objectOf(header) ?? {},
    claims: claimsOf(bytes(body)),
    signed: Buffer.from(`${head}.${body}`, 'latin1'),
    signature: bytes(signature),
  };
}

/** Claims whose times are numbers, else null. */
function claimsOf(bytes: Uint8Array): Claims | null {
  let claims: Claims | null;
  try {
    claims = objectOf(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch {
    return null;
  }
  const isTime = (value: unknown): boolean => value === undefined || value === null || typeof value === 'number';
  return claims !== null && ['iat', 'nbf', 'exp'].every((name) => isTime(claims[name])) ? claims : null;
}

function objectOf(value: unknown): Claims | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Claims) : null;
}

function checkClaims(settings: JwtSettings, claims: Claims, nowSeconds: number): void {
  const time = (name: string): number => Number(claims[name] ?? 0);
  const issuedAt = time('iat');
  let notBefore = time('nbf');
  let expires = time('exp');
  if (issuedAt === 0 && notBefore === 0 && expires === 0) {
    throw new CallError('no issue time, notbefore, or expiration time encoded in token');
  }
  if (expires === 0) expires = Math.max(issuedAt, notBefore) + settings.expirationLeewaySeconds;
  if (notBefore === 0) notBefore = issuedAt === 0 ? expires - settings.notBeforeLeewaySeconds : issuedAt;
  const refuse = (what: string): CallError => new CallError(`error validating claims: ${what}`);
  const invalid = (what: string): CallError => refuse(`square/go-jose/jwt: validation failed, ${what}`);
  const { issuer, audiences, skewSeconds } = settings;
  if (issuer !== '' && claims['iss'] !== issuer) throw invalid('invalid issuer claim (iss)');
  if (nowSeconds + skewSeconds < notBefore) throw invalid('token not valid yet (nbf)');
  if (nowSeconds - skewSeconds > expires) throw invalid('token is expired (exp)');
  // Sic.
  if (nowSeconds + skewSeconds < issuedAt) {
    throw refuse('square/go-jose/jwt: validation field, token issued in the future (iat)');
  }
  const audience = claims['aud'];
  const told: readonly unknown[] = audience === undefined ? [] : Array.isArray(audience) ? audience : [audience];
  // Providers put the program that asked for the token there; that is fine unless something is bound.
  if (audiences.length === 0 && told.length > 0 && settings.origin.kind !== 'oidc') {
    throw refuse('audience claim found in JWT but no audiences are bound');
  }
  if (audiences.length > 0 && !audiences.some((bound) => told.includes(bound))) {
    throw refuse('aud claim does not match any bound audience');
  }
}

function identityOf(settings: JwtSettings, claims: Claims): Identity {
  const given = <T>(mappings: Readonly<Record<string, string>>, read: (source: string, value: unknown) => T) =>
    Object.fromEntries(
      Object.entries(mappings).flatMap(([source, target]) => {
        const value = claimOf(claims, source);
        return value === undefined || value === null ? [] : [[target, read(source, value)]];
      }),
    ) as Readonly<Record<string, T>>;
  return {
    values: given(settings.claims, (source, value) => {
      const text = scalarText(value);
      if (text !== undefined) return text;
      throw new CallError(`error converting claim '${source}' to string from unknown type ${goType(value)}`);
    }),
    lists: given(settings.listClaims, (source, value) =>
      (Array.isArray(value) ? (value as unknown[]) : [value]).map((item) => {
        const text = scalarText(item);
        if (text !== undefined) return text;
        throw new CallError(
          `value ${goValue(item)} in ${JSON.stringify(source)} list claim could not be parsed as string`,
        );
      }),
    ),
  };
}

/** A claim by its name, or by a JSON pointer into it. */
function claimOf(claims: Claims, source: string): unknown {
  if (!source.startsWith('/')) return Object.hasOwn(claims, source) ? claims[source] : undefined;
  let value: unknown = claims;
  for (const part of source.slice(1).split('/')) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Claims)[name];
  }
  return value;
}

function scalarText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}

function goType(value: unknown): string {
  return Array.isArray(value) ? '[]interface {}' : 'map[string]interface {}';
}

/** Roughly what Go prints of it. */
function goValue(value: unknown): string {
  return Array.isArray(value) ? JSON.stringify(value) : `map[${Object.keys(value ?? {}).join(' ')}]`;
}

/** Go's text of a moment; the beginning of its calendar for none. */
function goTime(unixSeconds: number | undefined): string {
  const limit = 8.64e12;
  if (unixSeconds === undefined || Math.abs(unixSeconds) > limit) return '0001-01-01 00:00:00 +0000 UTC';
  return `${new Date(unixSeconds * 1000).toISOString().slice(0, 19).replace('T', ' ')} +0000 UTC`;
}
