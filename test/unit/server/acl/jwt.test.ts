import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { jwtValidator } from '../../../../src/server/acl/jwt.ts';

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pemOf = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const nowMs = 1_700_000_000_000;
const now = nowMs / 1000;

function token(claims: object, alg: string, signature: (data: Buffer) => Buffer): string {
  const data = `${part({ alg, typ: 'JWT' })}.${part(claims)}`;
  return `${data}.${signature(Buffer.from(data)).toString('base64url')}`;
}
const es256 = (claims: object): string =>
  token(claims, 'ES256', (data) => sign('sha256', data, { key: ec.privateKey, dsaEncoding: 'ieee-p1363' }));
const rs256 = (claims: object): string => token(claims, 'RS256', (data) => sign('sha256', data, rsa.privateKey));

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
  const validator = jwtValidator(config);
  const validate = (bearer: string, atMs: number): unknown => validator.validate(bearer, atMs);
  const { blank } = validator;

  test.each([
    ['ES256', es256],
    ['RS256', rs256],
  ] as const)('is good when signed with %s by a known key', (_, make) => {
    expect(validate(make({ ...good, deep: { er: 7 } }), nowMs)).toEqual({
      values: { app: 'web', deep: '7' },
      lists: { groups: ['ops'] },
    });
  });

  test('names what identities have before anybody logs in', () => {
    expect(blank).toEqual({ values: { app: '', deep: '' }, lists: { groups: [] } });
  });

  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  test.each([
    ['junk', 'junk', /three parts/],
    ['an unsigned token', token(good, 'none', () => Buffer.from('x')), /algorithm "none" is not supported/],
    [
      'the public key used as a shared secret',
      token(good, 'HS256', (data) => createHmac('sha256', pemOf(rsa.publicKey)).update(data).digest()),
      /algorithm "HS256" is not supported/,
    ],
    [
      'a stranger’s signature',
      token(good, 'ES256', (data) => sign('sha256', data, { key: stranger.privateKey, dsaEncoding: 'ieee-p1363' })),
      /no known key/,
    ],
    [
      'claims that were changed',
      es256(good).replace(/\.[^.]+\./, `.${part({ ...good, app: 'root' })}.`),
      /no known key/,
    ],
    ['another issuer', es256({ ...good, iss: 'you' }), /issuer/],
    ['another audience', es256({ ...good, aud: 'them' }), /audience/],
    ['an expired token', es256({ ...good, exp: now - 61 }), /expired/],
    ['a token of tomorrow', es256({ ...good, nbf: now + 61 }), /not valid yet/],
    ['a token without times', es256({ iss: 'me', aud: 'us' }), /no issue time/],
    ['a claim that is no text', es256({ ...good, app: { a: 1 } }), /claim 'app'/],
  ])('is refused for %s', (_, bearer, expected) => {
    expect(() => validate(bearer, nowMs)).toThrow(expected);
  });

  test('a token without an end ends by itself', () => {
    const { exp: _, ...endless } = good;
    expect(validate(es256(endless), nowMs)).toBeDefined();
    expect(() => validate(es256(endless), nowMs + 220_000)).toThrow(/expired/);
  });

  test('only the algorithms that are named will do', () => {
    const only = jwtValidator({ ...config, JWTSupportedAlgs: ['RS256'] });
    expect(() => only.validate(es256(good), nowMs)).toThrow(/not supported/);
    expect(only.validate(rs256(good), nowMs)).toBeDefined();
  });

  test.each([
    [{}, /at least one public key/],
    [{ JWTValidationPubKeys: ['x'] }, /JWTValidationPubKeys\[0\] is no public key/],
    [{ ...config, JWTSupportedAlgs: ['HS256'] }, /"HS256" is not one of/],
    [{ ...config, Bogus: 1 }, /unknown key Bogus/],
    [{ ...config, JWKSURL: 'https://x' }, /JWKSURL is not supported/],
    [{ ...config, ClaimMappings: { a: 'b c' } }, /must consist of/],
    [{ ...config, ClockSkewLeeway: 'abc' }, /ClockSkewLeeway must be a duration/],
  ])('a configuration %#  is refused', (bad, expected) => {
    expect(() => jwtValidator(bad)).toThrow(expected);
  });
});
