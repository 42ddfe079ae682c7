/**
 * Auth methods of type `jwt`: a signed token of somebody else's says who logs in. The signature is checked with public
 * keys from the method's configuration; then issuer, audience and times; then claims become values and lists that
 * binding rules can use (reference/http-api.md §9.11).
 */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { GoDurationError, parseGoDuration } from '../../codec/index.ts';
import { CallError } from '../../model/index.ts';

/** Longest login token, characters; headers of common servers allow no more. */
const bearerMax = 64 * 1024;
/** Added to a token without an end, and taken from one without a beginning, seconds. */
const leewaySecondsDefault = 150;
/** How far the clocks of issuer and server may differ, seconds. */
const skewSecondsDefault = 60;

/** What a login is known by. */
export interface Identity {
  readonly values: Readonly<Record<string, string>>;
  readonly lists: Readonly<Record<string, readonly string[]>>;
}

/** Checks logins of one auth method. */
export interface Validator {
  /** Names that identities have, with nothing in them: for checking rules before anybody logs in. */
  readonly blank: Identity;
  /** @throws CallError the token is not good. */
  validate(bearer: string, nowMs: number): Identity;
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

/** Signatures with a public key only: with a shared secret whoever can check could also sign. */
const algorithms: Readonly<Record<string, SignCheck>> = {
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

interface JwtConfig {
  readonly keys: readonly KeyObject[];
  /** Empty = every one known. */
  readonly supported: readonly string[];
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly claims: Readonly<Record<string, string>>;
  readonly listClaims: Readonly<Record<string, string>>;
  readonly expirationLeeway: number;
  readonly notBeforeLeeway: number;
  readonly skew: number;
}

const knownSettings = new Set(
  [
    'JWTValidationPubKeys',
    'JWTSupportedAlgs',
    'BoundIssuer',
    'BoundAudiences',
    'ClaimMappings',
    'ListClaimMappings',
    'ExpirationLeeway',
    'NotBeforeLeeway',
    'ClockSkewLeeway',
  ].map((name) => name.toLowerCase()),
);

/** @throws CallError what is wrong with the configuration. */
export function jwtValidator(config: Readonly<Record<string, unknown>> | null): Validator {
  const settings = readConfig(config ?? {});
  const blankOf = <T>(mappings: Readonly<Record<string, string>>, empty: T): Readonly<Record<string, T>> =>
    Object.fromEntries(Object.values(mappings).map((name) => [name, empty]));
  return {
    blank: { values: blankOf(settings.claims, ''), lists: blankOf<readonly string[]>(settings.listClaims, []) },
    validate: (bearer, nowMs) => {
      const claims = verifiedClaims(settings, bearer);
      checkClaims(settings, claims, nowMs / 1000);
      return identityOf(settings, claims);
    },
  };
}

function readConfig(config: Readonly<Record<string, unknown>>): JwtConfig {
  const given = new Map(Object.entries(config).map(([name, value]) => [name.toLowerCase(), value]));
  for (const [name] of Object.entries(config)) {
    if (/^(?:jwksurl|jwkscacert|oidcdiscoveryurl|oidcdiscoverycacert)$/i.test(name) && config[name]) {
      throw invalid(`${name} is not supported: put the public keys into JWTValidationPubKeys`);
    }
    if (!knownSettings.has(name.toLowerCase()) && config[name]) throw invalid(`Config has an unknown key ${name}`);
  }
  const strings = (name: string): readonly string[] => {
    const value = given.get(name.toLowerCase()) ?? [];
    if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
      throw invalid(`${name} must be a list of texts`);
    }
    return value;
  };
  const mappings = (name: string): Readonly<Record<string, string>> => {
    const value = given.get(name.toLowerCase()) ?? {};
    if (typeof value !== 'object' || Array.isArray(value)) throw invalid(`${name} must be a map of texts`);
    const entries = Object.entries(value);
    if (!entries.every((entry) => typeof entry[1] === 'string')) throw invalid(`${name} must be a map of texts`);
    for (const [, target] of entries as [string, string][]) {
      if (!/^\w+$/.test(target)) throw invalid(`${name}: "${target}" must consist of letters, digits and _`);
    }
    return Object.fromEntries(entries as [string, string][]);
  };
  const pems = strings('JWTValidationPubKeys');
  if (pems.length === 0) throw invalid('JWTValidationPubKeys must name at least one public key');
  const supported = strings('JWTSupportedAlgs');
  for (const name of supported) {
    if (!Object.hasOwn(algorithms, name)) {
      throw invalid(`JWTSupportedAlgs: "${name}" is not one of ${Object.keys(algorithms).join(', ')}`);
    }
  }
  const issuer = given.get('boundissuer') ?? '';
  if (typeof issuer !== 'string') throw invalid('BoundIssuer must be a text');
  return {
    keys: pems.map(publicKey),
    supported,
    issuer,
    audiences: strings('BoundAudiences'),
    claims: mappings('ClaimMappings'),
    listClaims: mappings('ListClaimMappings'),
    expirationLeeway: leeway(given, 'ExpirationLeeway', leewaySecondsDefault),
    notBeforeLeeway: leeway(given, 'NotBeforeLeeway', leewaySecondsDefault),
    skew: leeway(given, 'ClockSkewLeeway', skewSecondsDefault),
  };
}

function publicKey(pem: string, position: number): KeyObject {
  try {
    return createPublicKey(pem);
  } catch (error) {
    throw invalid(`JWTValidationPubKeys[${position}] is no public key in PEM form: ${(error as Error).message}`);
  }
}

/** Seconds: 0 stands for the default, less for none. */
function leeway(given: ReadonlyMap<string, unknown>, name: string, defaultSeconds: number): number {
  const value = given.get(name.toLowerCase()) ?? 0;
  try {
    const ns = typeof value === 'string' ? parseGoDuration(value) : Number(value);
    if (!Number.isFinite(ns)) throw new GoDurationError(JSON.stringify(value));
    return ns === 0 ? defaultSeconds : Math.max(0, ns / 1e9);
  } catch (error) {
    if (error instanceof GoDurationError) throw invalid(`${name} must be a duration such as "150s"`);
    throw error;
  }
}

type Claims = Readonly<Record<string, unknown>>;

function verifiedClaims({ keys, supported }: JwtConfig, bearer: string): Claims {
  const [head = '', body = '', signature = '', ...more] = bearer.length > bearerMax ? [] : bearer.split('.');
  const header = more.length === 0 ? decodeObject(head) : null;
  const claims = decodeObject(body);
  if (header === null || claims === null || signature === '') {
    throw new CallError('error parsing token: it must have three parts in base64, separated by dots');
  }
  const algorithm = String(header['alg']);
  const check = Object.hasOwn(algorithms, algorithm) ? algorithms[algorithm] : undefined;
  if (check === undefined || (supported.length > 0 && !supported.includes(algorithm))) {
    throw new CallError(`error verifying token: algorithm "${algorithm}" is not supported`);
  }
  const data = Buffer.from(`${head}.${body}`, 'latin1');
  const bytes = Buffer.from(signature, 'base64url');
  if (!keys.some((key) => check(key, data, bytes)))
    throw new CallError('no known key successfully validated the token signature');
  return claims;
}

function decodeObject(part: string): Claims | null {
  if (!/^[\w-]+$/.test(part)) return null;
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Claims) : null;
  } catch {
    return null;
  }
}

function checkClaims(config: JwtConfig, claims: Claims, nowSeconds: number): void {
  const time = (name: string): number => {
    const value = claims[name] ?? 0;
    if (typeof value !== 'number') throw new CallError(`error validating token: ${name} is not a number`);
    return value;
  };
  const issuedAt = time('iat');
  let notBefore = time('nbf');
  let expires = time('exp');
  if (issuedAt === 0 && notBefore === 0 && expires === 0) {
    throw new CallError('no issue time, notbefore, or expiration time encoded in token');
  }
  if (expires === 0) expires = Math.max(issuedAt, notBefore) + config.expirationLeeway;
  if (notBefore === 0) notBefore = issuedAt === 0 ? expires - config.notBeforeLeeway : issuedAt;
  const refuse = (what: string): CallError => new CallError(`error validating claims: ${what}`);
  if (config.issuer !== '' && claims['iss'] !== config.issuer) throw refuse('invalid issuer claim (iss)');
  if (nowSeconds + config.skew < notBefore) throw refuse('token not valid yet (nbf)');
  if (nowSeconds - config.skew > expires) throw refuse('token is expired (exp)');
  if (nowSeconds + config.skew < issuedAt) throw refuse('token issued in the future (iat)');
  const audience = claims['aud'];
  const audiences: readonly unknown[] = audience === undefined ? [] : Array.isArray(audience) ? audience : [audience];
  if (config.audiences.length === 0 && audiences.length > 0) {
    throw refuse('audience claim found in JWT but no audiences are bound');
  }
  if (config.audiences.length > 0 && !config.audiences.some((bound) => audiences.includes(bound))) {
    throw refuse('aud claim does not match any bound audience');
  }
}

function identityOf(config: JwtConfig, claims: Claims): Identity {
  const values: Record<string, string> = {};
  const lists: Record<string, readonly string[]> = {};
  for (const [source, target] of Object.entries(config.claims)) {
    const value = claimOf(claims, source);
    if (value === undefined) continue;
    values[target] = scalarText(source, value);
  }
  for (const [source, target] of Object.entries(config.listClaims)) {
    const value = claimOf(claims, source);
    if (value === undefined) continue;
    lists[target] = (Array.isArray(value) ? (value as unknown[]) : [value]).map((item) => scalarText(source, item));
  }
  return { values, lists };
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

function scalarText(source: string, value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw new CallError(`error converting claim '${source}' to string`);
}

function invalid(what: string): CallError {
  return new CallError(`Invalid Auth Method: ${what}`);
}
