/**
 * The configuration of auth methods of type `jwt`, read as freely as the peer reads it and refused in its words
 * (reference/http-api.md §9.11): where public keys come from, what a token must be like, which claims are taken over.
 */
import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { GoDurationError, parseGoDuration } from '../../codec/index.ts';
import { CallError } from '../../model/index.ts';

/** Added to a token without an end, and taken from one without a beginning, seconds. */
const leewaySecondsDefault = 150;
/** How far the clocks of issuer and server may differ, seconds. */
const skewSecondsDefault = 60;

/** Where public keys come from. `ca`: PEM of the authorities of that server, "" for the system's. */
export type KeyOrigin =
  | { readonly kind: 'keys'; readonly keys: readonly KeyObject[] }
  /** A list of keys (RFC 7517) at a URL. */
  | { readonly kind: 'jwks'; readonly url: string; readonly ca: string }
  /** An OpenID provider, whose description says where its keys are. */
  | { readonly kind: 'oidc'; readonly url: string; readonly ca: string };

export interface JwtSettings {
  readonly origin: KeyOrigin;
  /** Names of {@link jwtAlgorithmNames}; empty for the usual ones of the origin. */
  readonly algorithms: readonly string[];
  /** "" = any. */
  readonly issuer: string;
  readonly audiences: readonly string[];
  /** Claim, or JSON pointer to one → name it is known by. */
  readonly claims: Readonly<Record<string, string>>;
  readonly listClaims: Readonly<Record<string, string>>;
  readonly expirationLeewaySeconds: number;
  readonly notBeforeLeewaySeconds: number;
  readonly skewSeconds: number;
}

/** Signatures with a public key only: with a shared secret whoever can check could also sign. */
export const jwtAlgorithmNames = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
] as const;
export type JwtAlgorithm = (typeof jwtAlgorithmNames)[number];

const names = [
  'JWTValidationPubKeys',
  'JWKSURL',
  'JWKSCACert',
  'OIDCDiscoveryURL',
  'OIDCDiscoveryCACert',
  'JWTSupportedAlgs',
  'BoundIssuer',
  'BoundAudiences',
  'ClaimMappings',
  'ListClaimMappings',
  'ExpirationLeeway',
  'NotBeforeLeeway',
  'ClockSkewLeeway',
] as const;
type Name = (typeof names)[number];

/** @throws CallError what is wrong with the configuration. */
export function readJwtSettings(config: Readonly<Record<string, unknown>> | null): JwtSettings {
  const reader = new Reader(config ?? {});
  const pems = reader.strings('JWTValidationPubKeys');
  const settings = {
    jwksUrl: reader.string('JWKSURL'),
    jwksCa: reader.string('JWKSCACert'),
    oidcUrl: reader.string('OIDCDiscoveryURL'),
    oidcCa: reader.string('OIDCDiscoveryCACert'),
    algorithms: reader.strings('JWTSupportedAlgs'),
    issuer: reader.string('BoundIssuer'),
    audiences: reader.strings('BoundAudiences'),
    claims: reader.mappings('ClaimMappings'),
    listClaims: reader.mappings('ListClaimMappings'),
    expirationLeewaySeconds: reader.leeway('ExpirationLeeway', leewaySecondsDefault),
    notBeforeLeewaySeconds: reader.leeway('NotBeforeLeeway', leewaySecondsDefault),
    skewSeconds: reader.leeway('ClockSkewLeeway', skewSecondsDefault),
  };
  reader.finish();
  const { jwksUrl, jwksCa, oidcUrl, oidcCa, ...rest } = settings;
  if ([pems.length > 0, jwksUrl !== '', oidcUrl !== ''].filter(Boolean).length !== 1) {
    throw invalidMethod(
      `exactly one of 'JWTValidationPubKeys', 'JWKSURL', or 'OIDCDiscoveryURL' must be set for type "jwt"`,
    );
  }
  if (jwksCa !== '' && jwksUrl === '') throw invalidMethod("'JWKSCACert' should not be set unless 'JWKSURL' is set");
  if (oidcCa !== '' && oidcUrl === '') {
    throw invalidMethod("'OIDCDiscoveryCACert' should not be set unless 'OIDCDiscoveryURL' is set");
  }
  for (const name of rest.algorithms) {
    if (!(jwtAlgorithmNames as readonly string[]).includes(name)) {
      throw invalidMethod(`Invalid supported algorithm: ${name}`);
    }
  }
  requireOneNameEach('ClaimMappings', rest.claims);
  requireOneNameEach('ListClaimMappings', rest.listClaims);
  requireAuthority('JWKSCACert', jwksCa);
  requireAuthority('OIDCDiscoveryCACert', oidcCa);
  const origin: KeyOrigin =
    jwksUrl !== ''
      ? { kind: 'jwks', url: jwksUrl, ca: jwksCa }
      : oidcUrl !== ''
        ? { kind: 'oidc', url: oidcUrl, ca: oidcCa }
        : { kind: 'keys', keys: pems.map(publicKey) };
  return { origin, ...rest };
}

export function invalidMethod(what: string): CallError {
  return new CallError(`Invalid Auth Method: ${what}`);
}

class Reader {
  readonly #given: ReadonlyMap<string, unknown>;
  readonly #problems: string[] = [];

  constructor(config: Readonly<Record<string, unknown>>) {
    this.#given = new Map(Object.entries(config).map(([name, value]) => [name.toLowerCase(), value]));
    const known = new Set<string>(names.map((name) => name.toLowerCase()));
    const unknown = Object.keys(config).filter((name) => !known.has(name.toLowerCase()));
    if (unknown.length > 0) this.#problems.push(`'' has invalid keys: ${unknown.toSorted().join(', ')}`);
  }

  finish(): void {
    const problems = this.#problems.toSorted().map((problem) => `* ${problem}`);
    if (problems.length > 0) {
      throw invalidMethod(`error decoding config: ${problems.length} error(s) decoding:\n\n${problems.join('\n')}`);
    }
  }

  string(name: Name): string {
    return this.#text(name, this.#value(name) ?? '');
  }

  /** One text stands for a list of it. */
  strings(name: Name): readonly string[] {
    const value = this.#value(name) ?? [];
    return Array.isArray(value) ? value.map((item, i) => this.#text(`${name}[${i}]`, item)) : [this.#text(name, value)];
  }

  mappings(name: Name): Readonly<Record<string, string>> {
    const value = this.#value(name) ?? {};
    if (typeof value !== 'object' || Array.isArray(value)) {
      this.#problems.push(`'${name}' expected a map, got '${Array.isArray(value) ? 'slice' : typeof value}'`);
      return {};
    }
    return Object.fromEntries(Object.entries(value).map(([claim, to]) => [claim, this.#text(`${name}[${claim}]`, to)]));
  }

  /** Seconds, of a duration as text or nanoseconds: 0 stands for the default, less for none. */
  leeway(name: Name, defaultSeconds: number): number {
    const value = this.#value(name) ?? 0;
    try {
      const ns = typeof value === 'string' ? parseGoDuration(value) : typeof value === 'number' ? value : Number.NaN;
      if (Number.isFinite(ns)) return ns === 0 ? defaultSeconds : Math.max(0, ns / 1e9);
    } catch (error) {
      if (!(error instanceof GoDurationError)) throw error;
    }
    this.#problems.push(
      `cannot parse '${name}' as int: strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`,
    );
    return 0;
  }

  #value(name: Name): unknown {
    return this.#given.get(name.toLowerCase());
  }

  #text(at: string, value: unknown): string {
    if (typeof value === 'string') return value;
    if (typeof value === 'number') return String(value);
    if (typeof value === 'boolean') return value ? '1' : '0';
    const type = Array.isArray(value) ? '[]interface {}' : 'map[string]interface {}';
    this.#problems.push(`'${at}' expected type 'string', got unconvertible type '${type}'`);
    return '';
  }
}

function requireOneNameEach(setting: Name, mappings: Readonly<Record<string, string>>): void {
  const targets = Object.values(mappings);
  const twice = targets.find((target, i) => targets.indexOf(target) < i);
  if (twice !== undefined)
    throw invalidMethod(`${setting} contains multiple mappings for key ${JSON.stringify(twice)}`);
}

function requireAuthority(setting: Name, pem: string): void {
  if (pem === '') return;
  try {
    void new X509Certificate(pem);
  } catch {
    throw invalidMethod(`error checking ${setting}: could not parse CA PEM value successfully`);
  }
}

function publicKey(pem: string, position: number): KeyObject {
  try {
    return createPublicKey(pem);
  } catch {
    throw invalidMethod(
      `error parsing public key JWTValidationPubKeys[${position}]: ` +
        'data does not contain any valid RSA, ECDSA, or ED25519 public keys',
    );
  }
}
