import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { HttpClient } from '../../../../src/ports/index.ts';
import { jwtValidator } from '../../../../src/server/acl/jwt.ts';
import { VirtualClock } from '../../../../src/sim/virtual-clock.ts';

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const pemOf = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const nowMs = 1_700_000_000_000;
const now = nowMs / 1000;

function token(claims: object, alg: string, signature: (data: Buffer) => Buffer, header: object = {}): string {
  const data = `${part({ alg, typ: 'JWT', ...header })}.${part(claims)}`;
  return `${data}.${signature(Buffer.from(data)).toString('base64url')}`;
}
const es256 = (claims: object, header: object = {}, key = ec.privateKey): string =>
  token(claims, 'ES256', (data) => sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' }), header);
const rs256 = (claims: object, header: object = {}): string =>
  token(claims, 'RS256', (data) => sign('sha256', data, rsa.privateKey), header);

const noHttp: HttpClient = ({ url }) => Promise.reject(new Error(`nothing is to be fetched from ${url}`));
const alone = { clock: new VirtualClock(), http: noHttp };

const config = {
  JWTValidationPubKeys: [pemOf(rsa.publicKey), pemOf(ec.publicKey)],
  BoundIssuer: 'me',
  BoundAudiences: ['us'],
  ClaimMappings: { app: 'app', '/deep/er': 'deep' },
  ListClaimMappings: { groups: 'groups' },
};
const good = {
  iss: 'me',
  aud: ['them', 'us'],
  iat: now - 10,
  nbf: now - 10,
  exp: now + 60,
  app: 'web',
  groups: ['ops'],
};

describe('a login with a JWT', () => {
  const validator = jwtValidator(config, alone);

  test.each([
    ['ES256', es256],
    ['RS256', rs256],
  ] as const)('is good when signed with %s by a known key', async (_, make) => {
    expect(await validator.validate(make({ ...good, deep: { er: 7 } }), nowMs)).toEqual({
      selectable: { value: { app: 'web', deep: '7' }, list: { groups: ['ops'] } },
      variables: { 'value.app': 'web', 'value.deep': '7' },
    });
  });

  test('has every claim that is mapped, also those that the token lacks', async () => {
    expect(validator.variables).toEqual(['value.app', 'value.deep']);
    const { app: _, groups: __, ...rest } = good;
    expect(await validator.validate(es256(rest), nowMs)).toEqual({
      selectable: { value: { app: '', deep: '' }, list: { groups: [] } },
      variables: { 'value.app': '', 'value.deep': '' },
    });
  });

  const invalid = 'error validating claims: square/go-jose/jwt: validation failed, ';
  const unknown = 'no known key successfully validated the token signature';
  const threeParts = 'error parsing token: square/go-jose: compact JWS format must have three parts';
  test.each([
    ['nothing', '', 'missing jwt'],
    ['junk', 'junk', threeParts],
    ['two parts', 'a.b', threeParts],
    ['parts that are no base64', 'a.b.c', 'error parsing token: illegal base64 data at input byte 0'],
    ['letters from elsewhere', 'e30.eé.e30', 'error parsing token: illegal base64 data at input byte 1'],
    [
      'a header that is no JSON',
      `${Buffer.from('x').toString('base64url')}.e30.e30`,
      "error parsing token: invalid character 'x' looking for beginning of value",
    ],
    ['empty parts', '..', unknown],
    ['an algorithm that is no text', `${part({ alg: { toString: 1 } })}.${part(good)}.AAAA`, unknown],
    ['an unsigned token', `${part({ alg: 'none' })}.${part(good)}.`, unknown],
    [
      'the public key used as a shared secret',
      token(good, 'HS256', (data) => createHmac('sha256', pemOf(rsa.publicKey)).update(data).digest()),
      unknown,
    ],
    ['a stranger’s signature', es256(good, {}, stranger.privateKey), unknown],
    ['claims that were changed', es256(good).replace(/\.[^.]+\./, `.${part({ ...good, app: 'root' })}.`), unknown],
    ['times that are no numbers', es256({ ...good, exp: 'x' }), unknown],
    ['what must be understood and is not', es256(good, { crit: ['x'], x: 1 }), unknown],
    ['another issuer', es256({ ...good, iss: 'you' }), `${invalid}invalid issuer claim (iss)`],
    [
      'another audience',
      es256({ ...good, aud: 'them' }),
      'error validating claims: aud claim does not match any bound audience',
    ],
    ['an expired token', es256({ ...good, exp: now - 61 }), `${invalid}token is expired (exp)`],
    ['a token of tomorrow', es256({ ...good, nbf: now + 61 }), `${invalid}token not valid yet (nbf)`],
    ['a token without times', es256({ iss: 'me', aud: 'us' }), 'no issue time, notbefore, or expiration time'],
    [
      'a claim that is no text',
      es256({ ...good, app: { a: 1 } }),
      "error converting claim 'app' to string from unknown type map[string]interface {}",
    ],
    [
      'a list that has something else in it',
      es256({ ...good, groups: [{}] }),
      'value map[] in "groups" list claim could not be parsed as string',
    ],
    [
      'a list in a list',
      es256({ ...good, groups: [[{ toString: 1 }]] }),
      'value [{"toString":1}] in "groups" list claim could not be parsed as string',
    ],
  ])('is refused for %s', async (_, bearer, text) => {
    await expect(validator.validate(bearer, nowMs)).rejects.toThrow(text);
  });

  test('a token without an end ends by itself', async () => {
    const { exp: _, ...endless } = good;
    expect(await validator.validate(es256(endless), nowMs)).toBeDefined();
    await expect(validator.validate(es256(endless), nowMs + 220_000)).rejects.toThrow(/expired/);
  });

  test('only the algorithms that are named will do', async () => {
    const only = jwtValidator({ ...config, JWTSupportedAlgs: ['RS256'] }, alone);
    await expect(only.validate(es256(good), nowMs)).rejects.toThrow(unknown);
    expect(await only.validate(rs256(good), nowMs)).toBeDefined();
  });

  const exactlyOne = `exactly one of 'JWTValidationPubKeys', 'JWKSURL', or 'OIDCDiscoveryURL' must be set for type "jwt"`;
  const decoding = 'error decoding config: 1 error(s) decoding:\n\n* ';
  test.each([
    [null, exactlyOne],
    [{}, exactlyOne],
    [{ ...config, JWKSURL: 'https://x' }, exactlyOne],
    [{ JWKSURL: 'https://x', OIDCDiscoveryURL: 'https://y' }, exactlyOne],
    [{ ...config, JWKSCACert: 'x' }, "'JWKSCACert' should not be set unless 'JWKSURL' is set"],
    [
      { ...config, OIDCDiscoveryCACert: 'x' },
      "'OIDCDiscoveryCACert' should not be set unless 'OIDCDiscoveryURL' is set",
    ],
    [{ JWKSURL: 'https://x', JWKSCACert: 'x' }, 'error checking JWKSCACert: could not parse CA PEM value successfully'],
    [
      { JWTValidationPubKeys: ['x'] },
      'error parsing public key JWTValidationPubKeys[0]: ' +
        'data does not contain any valid RSA, ECDSA, or ED25519 public keys',
    ],
    [{ ...config, JWTSupportedAlgs: ['HS256'] }, 'Invalid supported algorithm: HS256'],
    [{ ...config, NotBeforeLeeway: Object.create(null) as object }, `${decoding}cannot parse 'NotBeforeLeeway' as int`],
    [{ ...config, Bogus: 1, Also: 2 }, `${decoding}'' has invalid keys: Also, Bogus`],
    [{ ...config, ClaimMappings: { a: 'x', b: 'x' } }, 'ClaimMappings contains multiple mappings for key "x"'],
    [{ ...config, ClaimMappings: 'x' }, `${decoding}'ClaimMappings' expected a map, got 'string'`],
    [
      { ...config, ClockSkewLeeway: 'abc' },
      `${decoding}cannot parse 'ClockSkewLeeway' as int: strconv.ParseInt: parsing "abc": invalid syntax`,
    ],
  ])('a configuration %#  is refused', (bad, text) => {
    expect(() => jwtValidator(bad, alone)).toThrow(`Invalid Auth Method: ${text}`);
  });

  test('names of settings stand in any case, and one text for a list of it', async () => {
    const { JWTValidationPubKeys, BoundAudiences: _, ...rest } = config;
    const free = { ...rest, jwtvalidationpubkeys: JWTValidationPubKeys, BoundAudiences: 'us' };
    expect(await jwtValidator(free, alone).validate(es256(good), nowMs)).toBeDefined();
  });
});

/** A web server of whom it is known what it was asked. */
class Issuer {
  readonly asked: string[] = [];
  readonly authorities: (string | undefined)[] = [];
  readonly pages = new Map<string, string>();
  readonly clock = new VirtualClock();
  readonly http: HttpClient = ({ url, ca }) => {
    this.asked.push(url);
    this.authorities.push(ca);
    const body = this.pages.get(url);
    return Promise.resolve(
      body === undefined
        ? { status: 404, statusText: 'Not Found', headers: {}, body: 'nope' }
        : { status: 200, statusText: 'OK', headers: {}, body },
    );
  };

  keysAt(url: string, ...keys: readonly (readonly [id: string, key: KeyObject])[]): void {
    const list = keys.map(([kid, key]) => ({ ...key.export({ format: 'jwk' }), kid, use: 'sig' }));
    this.pages.set(url, JSON.stringify({ keys: [...list, { kty: 'oct', k: 'AAAA' }, null, 5] }));
  }
}

describe('keys at a URL', () => {
  const url = 'https://issuer.example/keys';
  const claims = { ClaimMappings: { app: 'app' }, BoundAudiences: ['us'] };
  const set = () => {
    const issuer = new Issuer();
    issuer.keysAt(url, ['e', ec.publicKey], ['r', rsa.publicKey]);
    return { issuer, validator: jwtValidator({ JWKSURL: url, ...claims }, issuer) };
  };
  const unverified = 'error verifying token: failed to verify id token signature';

  test('are fetched for the first login, and used for those that follow', async () => {
    const { issuer, validator } = set();
    expect(await validator.validate(es256(good), nowMs)).toMatchObject({ variables: { 'value.app': 'web' } });
    expect(await validator.validate(rs256(good, { kid: 'r' }), nowMs)).toBeDefined();
    expect(issuer.asked).toEqual([url]);
  });

  test('count by their names where the token gives one', async () => {
    const { validator } = set();
    expect(await validator.validate(es256(good, { kid: 'e' }), nowMs)).toBeDefined();
    await expect(validator.validate(es256(good, { kid: 'r' }), nowMs)).rejects.toThrow(unverified);
  });

  test('that have changed are fetched again, but not for every bad token', async () => {
    const { issuer, validator } = set();
    await validator.validate(es256(good), nowMs);
    issuer.keysAt(url, ['s', stranger.publicKey]);
    const renewed = es256(good, { kid: 's' }, stranger.privateKey);
    await expect(validator.validate(renewed, nowMs)).rejects.toThrow(unverified);
    expect(issuer.asked).toHaveLength(1);
    await issuer.clock.advance(5_000);
    expect(await validator.validate(renewed, nowMs)).toBeDefined();
    for (let tries = 0; tries < 10; tries++) {
      await expect(validator.validate(es256(good), nowMs)).rejects.toThrow(unverified);
    }
    expect(issuer.asked).toHaveLength(2);
  });

  test('are fetched once for logins at the same time, and again when they are old', async () => {
    const { issuer, validator } = set();
    await Promise.all([es256(good), rs256(good), es256(good)].map((bearer) => validator.validate(bearer, nowMs)));
    expect(issuer.asked).toHaveLength(1);
    await issuer.clock.advance(3_600_000);
    await validator.validate(es256(good), nowMs);
    expect(issuer.asked).toHaveLength(2);
  });

  test('are asked for when the method is set, and what goes wrong is told', async () => {
    const { issuer, validator } = set();
    await validator.check();
    expect(issuer.asked).toEqual([url]);
    const failing = (pages: [string, string][], http = issuer.http) => {
      issuer.pages.clear();
      for (const [page, body] of pages) issuer.pages.set(page, body);
      return jwtValidator({ JWKSURL: url }, { clock: issuer.clock, http }).check();
    };
    const before = 'Invalid Auth Method: error checking JWKSURL: fetching keys oidc: ';
    await expect(failing([])).rejects.toThrow(`${before}get keys failed: 404 Not Found nope`);
    await expect(failing([[url, 'xx']])).rejects.toThrow(
      `${before}failed to decode keys: invalid character 'x' looking for beginning of value`,
    );
    const refused: HttpClient = () => Promise.reject(new Error('dial tcp 192.0.2.1:443: connect: connection refused'));
    await expect(failing([], refused)).rejects.toThrow(
      `${before}get keys failed Get "${url}": dial tcp 192.0.2.1:443: connect: connection refused`,
    );
    await expect(jwtValidator({ JWKSURL: 'x' }, issuer).check()).rejects.toThrow(
      `${before}get keys failed Get "x": unsupported protocol scheme ""`,
    );
  });

  test('that do not come in time are given up', async () => {
    const issuer = new Issuer();
    const silent: HttpClient = ({ signal }) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    const checked = jwtValidator({ JWKSURL: url }, { clock: issuer.clock, http: silent }).check();
    const told = expect(checked).rejects.toThrow(`Get "${url}": context deadline exceeded`);
    await issuer.clock.advance(10_000);
    await told;
  });
});

describe('an OpenID provider', () => {
  const provider = 'https://issuer.example/realm';
  const page = `${provider}/.well-known/openid-configuration`;
  const keys = 'https://keys.example/';
  const set = (settings: object = {}) => {
    const issuer = new Issuer();
    issuer.pages.set(page, JSON.stringify({ issuer: provider, jwks_uri: keys }));
    issuer.keysAt(keys, ['r', rsa.publicKey], ['e', ec.publicKey]);
    const validator = jwtValidator(
      { OIDCDiscoveryURL: provider, BoundAudiences: ['us'], ClaimMappings: { app: 'app' }, ...settings },
      issuer,
    );
    return { issuer, validator };
  };
  const mine = { ...good, iss: provider };
  const before = 'error validating signature: ';

  test('says where its keys are', async () => {
    const { issuer, validator } = set();
    expect(await validator.validate(rs256(mine), nowMs)).toMatchObject({ variables: { 'value.app': 'web' } });
    expect(issuer.asked).toEqual([page, keys]);
  });

  test.each([
    [
      'another issuer',
      rs256(good),
      `${before}oidc: id token issued by a different provider, expected "${provider}" got "me"`,
    ],
    [
      'another algorithm than its own',
      es256(mine),
      `${before}oidc: id token signed with unsupported algorithm, expected ["RS256"] got "ES256"`,
    ],
    [
      'an end that is past, without any leeway',
      rs256({ ...mine, exp: now - 1 }),
      `${before}oidc: token is expired (Token Expiry: 2023-11-14 22:13:19 +0000 UTC)`,
    ],
    [
      'no end',
      rs256({ ...mine, exp: undefined }),
      `${before}oidc: token is expired (Token Expiry: 0001-01-01 00:00:00 +0000 UTC)`,
    ],
    ['a beginning to come', rs256({ ...mine, nbf: now + 61 }), 'before the nbf (not before) time: 2023-11-14 22:14:21'],
    [
      'a key of another name',
      rs256(mine, { kid: 'e' }),
      `${before}failed to verify signature: failed to verify id token signature`,
    ],
    ['junk', 'x', `${before}oidc: malformed jwt: square/go-jose: compact JWS format must have three parts`],
    ['another audience', rs256({ ...mine, aud: 'x' }), 'aud claim does not match any bound audience'],
  ])('refuses a token of %s', async (_, bearer, text) => {
    await expect(set().validator.validate(bearer, nowMs)).rejects.toThrow(text);
  });

  test('may say for whom its tokens are, though nobody is bound', async () => {
    expect(await set({ BoundAudiences: [] }).validator.validate(rs256(mine), nowMs)).toBeDefined();
  });

  test('takes the algorithms that are named', async () => {
    const { validator } = set({ JWTSupportedAlgs: ['ES256'] });
    expect(await validator.validate(es256(mine), nowMs)).toBeDefined();
  });

  test('must be the one that was meant, when the method is set', async () => {
    const { issuer, validator } = set();
    await validator.check();
    issuer.pages.set(page, JSON.stringify({ issuer: 'https://else', jwks_uri: keys }));
    await expect(validator.check()).rejects.toThrow(
      'Invalid Auth Method: error checking OIDCDiscoveryURL: oidc: issuer did not match the issuer returned by ' +
        `provider, expected "${provider}" got "https://else"`,
    );
    issuer.pages.clear();
    await expect(validator.check()).rejects.toThrow(
      'Invalid Auth Method: error checking OIDCDiscoveryURL: 404 Not Found: nope',
    );
  });
});
