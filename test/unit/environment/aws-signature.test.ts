// The signatures that AWS publishes for Signature Version 4: its test suite, and the example of its documentation.
import { expect, test } from 'vitest';
import { signRequest, uriEncode } from '../../../src/environment/aws-signature.ts';

const credentials = {
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
};
const scope = { region: 'us-east-1', service: 'service', wallMs: Date.UTC(2015, 7, 30, 12, 36, 0) };
const host = 'https://example.amazonaws.com';
const unreserved = '-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

test.each([
  ['get-vanilla', 'GET', '/', {}, '', '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'],
  [
    'get-vanilla-query-order-key-case',
    'GET',
    '/?Param2=value2&Param1=value1',
    {},
    '',
    'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500',
  ],
  [
    'get-vanilla-query-order-value',
    'GET',
    '/?Param1=value2&Param1=Value1',
    {},
    '',
    'eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1',
  ],
  [
    'get-vanilla-query-unreserved',
    'GET',
    `/?${unreserved}=${unreserved}`,
    {},
    '',
    '9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197',
  ],
  [
    'get-header-value-trim',
    'GET',
    '/',
    { 'My-Header1': ' value1', 'My-Header2': ' "a   b   c"' },
    '',
    'acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736',
  ],
  ['post-vanilla', 'POST', '/', {}, '', '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b'],
  [
    'post-x-www-form-urlencoded',
    'POST',
    '/',
    { 'Content-Type': 'application/x-www-form-urlencoded' },
    'Param1=value1',
    'ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a',
  ],
] as const)('%s', (_, method, path, headers, body, signature) => {
  const { Authorization } = signRequest({ method, url: host + path, headers, body }, scope, credentials);
  expect(Authorization).toMatch(
    /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/20150830\/us-east-1\/service\/aws4_request, /,
  );
  expect(Authorization).toMatch(new RegExp(`, Signature=${signature}$`));
});

test('post-sts-header-before: the session token is sent and signed', () => {
  const sessionToken =
    'AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==';
  const request = { method: 'POST', url: `${host}/`, headers: {}, body: '' };
  expect(signRequest(request, scope, { ...credentials, sessionToken })).toEqual({
    'X-Amz-Date': '20150830T123600Z',
    'X-Amz-Security-Token': sessionToken,
    Authorization:
      'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead',
  });
});

test("the documentation's ListUsers", () => {
  const request = {
    method: 'GET',
    url: 'https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08',
    headers: { 'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8' },
    body: '',
  };
  expect(signRequest(request, { ...scope, service: 'iam' }, credentials)['Authorization']).toBe(
    'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7',
  );
});

// Not published; computed by AWS's own botocore 1.43.11.
test('a port belongs to the host, and a path is encoded twice', () => {
  const request = { method: 'GET', url: 'http://127.0.0.1:4566/a%20b/ሴ', headers: {}, body: '' };
  const { Authorization } = signRequest(request, { ...scope, region: 'eu-west-1', service: 'ec2' }, credentials);
  expect(Authorization).toMatch(/d9b9e037f18c254aec5cc21c79fa4ef2edf45b3098d53e96e8aea562d0315cfe$/);
});

test('encoding keeps nothing but letters, digits and - . _ ~', () => {
  expect(uriEncode("aZ09-._~ !'()*+/:é")).toBe('aZ09-._~%20%21%27%28%29%2A%2B%2F%3A%C3%A9');
});
