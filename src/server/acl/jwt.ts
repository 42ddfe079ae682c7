/**
 * Auth methods of type `jwt`: a signed token of somebody else's says who logs in. The signature is checked with public
 * keys that the method's configuration gives or names a place for; then issuer, audience and times; then claims become
 * values and lists that binding rules can use (reference/http-api.md §9.11). The texts are the peer's, which tell the
 * library at fault.
 */
import { type KeyObject, verify } from 'node:crypto';
import { CallError } from '../../model/index.ts';
import { type KeyFetching, type KeySource, keySource, type KnownKey } from './jwt-keys.ts';
import { type Claims, parseSignedToken, type SignedToken } from './signed-token.ts';
import type { Identity, Validator } from './validator.ts';
import { type JwtAlgorithm, type JwtSettings, readJwtSettings } from './jwt-settings.ts';

/** How much before its `nbf` a token of an OpenID provider is good, seconds. */
const providerNotBeforeLeewaySeconds = 60;
/** What OpenID providers sign with unless the method says otherwise. */
const providerAlgorithms: readonly string[] = ['RS256'];

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
  return {
    fields: { value: 'string-map', list: 'strings-map' },
    variables: Object.values(settings.claims).map(variable),
    check: () => source.check(),
    validate: async (bearer, nowMs) => {
      const claims = await verifiedClaims(settings, source, bearer, nowMs / 1000);
      checkClaims(settings, claims, nowMs / 1000);
      return identityOf(settings, claims);
    },
  };
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
      const token = parseSignedToken(bearer, 'error parsing token: ');
      if (token.claims !== null && (await isSigned(settings, source, token))) return token.claims;
      throw new CallError('no known key successfully validated the token signature');
    }
    case 'jwks': {
      const token = parseSignedToken(bearer, 'error verifying token: oidc: malformed jwt: ');
      if (token.claims !== null && (await isSigned(settings, source, token))) return token.claims;
      throw new CallError('error verifying token: failed to verify id token signature');
    }
    case 'oidc': {
      const token = parseSignedToken(bearer, 'error validating signature: oidc: malformed jwt: ');
      return await verifiedByProvider(settings, source, token, origin.url, nowSeconds);
    }
  }
}

/** A provider's token is looked at as an OpenID token (OpenID Connect Core 1.0 §3.1.3.7), without its audience. */
async function verifiedByProvider(
  settings: JwtSettings,
  source: KeySource,
  token: SignedToken,
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
async function isSigned({ algorithms }: JwtSettings, source: KeySource, token: SignedToken): Promise<boolean> {
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

function algorithmOf({ header }: SignedToken): string {
  return typeof header['alg'] === 'string' ? header['alg'] : '';
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

/** A claim that is not there is an empty text or list. */
function identityOf(settings: JwtSettings, claims: Claims): Identity {
  const taken = <T>(
    mappings: Readonly<Record<string, string>>,
    empty: T,
    read: (source: string, value: unknown) => T,
  ) =>
    Object.entries(mappings).map(([source, target]): [name: string, value: T] => {
      const value = claimOf(claims, source);
      return [target, value === undefined || value === null ? empty : read(source, value)];
    });
  const values = taken(settings.claims, '', (source, value) => {
    const text = scalarText(value);
    if (text !== undefined) return text;
    throw new CallError(`error converting claim '${source}' to string from unknown type ${goType(value)}`);
  });
  const lists = taken<readonly string[]>(settings.listClaims, [], (source, value) =>
    (Array.isArray(value) ? (value as unknown[]) : [value]).map((item) => {
      const text = scalarText(item);
      if (text !== undefined) return text;
      throw new CallError(
        `value ${goValue(item)} in ${JSON.stringify(source)} list claim could not be parsed as string`,
      );
    }),
  );
  return {
    selectable: { value: Object.fromEntries(values), list: Object.fromEntries(lists) },
    variables: Object.fromEntries(values.map(([name, value]) => [variable(name), value])),
  };
}

function variable(name: string): string {
  return `value.${name}`;
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
