import { describe, expect, test } from 'vitest';
import type { HttpClient } from '../../../../src/ports/index.ts';
import { kubernetesValidator } from '../../../../src/server/acl/kubernetes.ts';
import { VirtualClock } from '../../../../src/sim/virtual-clock.ts';
import { TestAuthority } from '../../../helpers/certificates.ts';

const ca = new TestAuthority().cert;
const Host = 'https://10.0.0.1:6443/';
const jwt = 'e30.e30.e30';
const own = 'e30.e30.AAAA';
const good = { Host, CACert: ca, ServiceAccountJWT: own };
const nowMs = 1_700_000_000_000;
const review = 'POST https://10.0.0.1:6443/apis/authentication.k8s.io/v1/tokenreviews';
const account = 'GET https://10.0.0.1:6443/api/v1/namespaces/shop/serviceaccounts/web';

type Answer = readonly [status: number, body: object];
const known: Record<string, Answer> = {
  [review]: [
    201,
    { status: { authenticated: true, user: { username: 'system:serviceaccount:shop:web', uid: 'u-1' } } },
  ],
  [account]: [200, { metadata: { name: 'web' } }],
};

function cluster(answers: Record<string, Answer> = {}) {
  const asked: Parameters<HttpClient>[0][] = [];
  const http: HttpClient = (request) => {
    asked.push(request);
    const [status, body] = { ...known, ...answers }[`${request.method} ${request.url}`] ?? [404, {}];
    return Promise.resolve({ status, statusText: 'Text', headers: {}, body: JSON.stringify(body) });
  };
  return { asked, parts: { clock: new VirtualClock(), http } };
}

describe('a login with the token of a service account', () => {
  test('is good when the cluster says so, and whose it is can be told', async () => {
    const { asked, parts } = cluster();
    const validator = kubernetesValidator(good, parts);
    await validator.check();
    const serviceaccount = { namespace: 'shop', name: 'web', uid: 'u-1' };
    expect(await validator.validate(jwt, nowMs)).toEqual({
      selectable: { serviceaccount },
      variables: {
        'serviceaccount.namespace': 'shop',
        'serviceaccount.name': 'web',
        'serviceaccount.uid': 'u-1',
      },
    });
    expect(Object.keys(serviceaccount).map((name) => `serviceaccount.${name}`)).toEqual(validator.variables);
    expect(asked.map(({ headers, ca: authority }) => [headers['Authorization'], authority])).toEqual([
      [`Bearer ${own}`, ca],
      [`Bearer ${own}`, ca],
    ]);
    expect(JSON.parse(asked[0]!.body!)).toEqual({
      kind: 'TokenReview',
      apiVersion: 'authentication.k8s.io/v1',
      spec: { token: jwt },
    });
  });

  test('goes by another name when the account is annotated with it', async () => {
    const annotations = { 'consul.hashicorp.com/service-name': 'shop-front' };
    const { parts } = cluster({ [account]: [200, { metadata: { annotations } }] });
    expect(await kubernetesValidator(good, parts).validate(jwt, nowMs)).toMatchObject({
      selectable: { serviceaccount: { name: 'shop-front' } },
    });
  });

  test.each<[string, Record<string, Answer>, string]>([
    ['no valid token', { [review]: [201, { status: {} }] }, 'lookup failed: service account jwt not valid'],
    ['an error', { [review]: [201, { status: { error: 'boom' } }] }, 'lookup failed: boom'],
    [
      'somebody else',
      { [review]: [201, { status: { authenticated: true, user: { username: 'bob' } } }] },
      'lookup failed: unexpected username format',
    ],
    ['that we may not ask', { [review]: [403, { message: 'it is forbidden' }] }, 'it is forbidden'],
    ['nothing of sense', { [review]: [500, {}] }, 'the API answered 500 Text'],
    [
      'that there is no such account',
      { [account]: [404, { message: 'serviceaccounts "web" not found' }] },
      'annotation lookup failed: serviceaccounts "web" not found',
    ],
  ])('is refused when the cluster says %s', async (_, answers, text) => {
    await expect(kubernetesValidator(good, cluster(answers).parts).validate(jwt, nowMs)).rejects.toThrow(text);
  });

  test('is refused unasked when it is no token', async () => {
    const { asked, parts } = cluster();
    await expect(kubernetesValidator(good, parts).validate('x', nowMs)).rejects.toThrow(
      'failed to parse and validate JWT: square/go-jose: compact JWS format must have three parts',
    );
    expect(asked).toEqual([]);
  });

  test('is refused when the cluster cannot be reached, or does not answer in time', async () => {
    const { clock } = cluster().parts;
    const refused: HttpClient = () => Promise.reject(new Error('dial tcp 10.0.0.1:6443: connect: connection refused'));
    await expect(kubernetesValidator(good, { clock, http: refused }).validate(jwt, nowMs)).rejects.toThrow(
      'Post "https://10.0.0.1:6443/apis/authentication.k8s.io/v1/tokenreviews": dial tcp 10.0.0.1:6443: connect:',
    );
    const silent: HttpClient = ({ signal }) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    const login = kubernetesValidator(good, { clock, http: silent }).validate(jwt, nowMs);
    const told = expect(login).rejects.toThrow('context deadline exceeded');
    await clock.advance(10_000);
    await told;
  });
});

test.each([
  [null, 'Config.Host is required'],
  [{ Host }, 'Config.CACert is required'],
  [
    { Host, CACert: 'x' },
    'error parsing kubernetes ca cert: data does not contain any valid RSA or ECDSA certificates',
  ],
  [{ Host: 'x', CACert: ca }, 'Config.Host must be a URL'],
  [{ Host, CACert: ca }, 'Config.ServiceAccountJWT is required'],
  [
    { ...good, ServiceAccountJWT: 'a.b.c' },
    'Config.ServiceAccountJWT is not a valid JWT: illegal base64 data at input byte 0',
  ],
  [{ ...good, Bogus: 1 }, "error decoding config: 1 error(s) decoding:\n\n* '' has invalid keys: Bogus"],
])('the configuration %j is refused', (config, text) => {
  expect(() => kubernetesValidator(config, cluster().parts)).toThrow(`Invalid Auth Method: ${text}`);
});
