// Which of flag, environment and default counts (reference/agent.md §1.2).
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ClientFlags, type ClientOptions, resolveClientOptions } from '../../../src/client/index.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'portolan-options-'));
  writeFileSync(join(dir, 'token'), 'from-file\n');
  writeFileSync(join(dir, 'empty'), ' \n');
  writeFileSync(join(dir, 'pem'), 'PEM');
});
afterAll(() => rmSync(dir, { recursive: true }));

const cases: readonly [string, NodeJS.ProcessEnv, ClientFlags, Partial<ClientOptions>][] = [
  ['nothing given', {}, {}, { scheme: 'http', address: '127.0.0.1:8500', unix: false, token: '' }],
  [
    'the environment',
    { CONSUL_HTTP_ADDR: '10.0.0.1:1', CONSUL_HTTP_TOKEN: 't' },
    {},
    { address: '10.0.0.1:1', token: 't' },
  ],
  ['a flag beats the environment', { CONSUL_HTTP_ADDR: 'a:1' }, { httpAddr: 'b:2' }, { address: 'b:2' }],
  ['our own name beats the other', { CONSUL_HTTP_ADDR: 'a:1', PORTOLAN_HTTP_ADDR: 'b:2' }, {}, { address: 'b:2' }],
  ['an empty variable is none', { CONSUL_HTTP_ADDR: 'a:1', PORTOLAN_HTTP_ADDR: '' }, {}, { address: 'a:1' }],
  ['https in the address', {}, { httpAddr: 'https://h:1/' }, { scheme: 'https', address: 'h:1' }],
  ['http in the address does not undo SSL', { CONSUL_HTTP_SSL: '1' }, { httpAddr: 'http://h:1' }, { scheme: 'https' }],
  ['a unix socket', {}, { httpAddr: 'unix:///run/p.sock' }, { unix: true, address: '/run/p.sock' }],
  ['namespace and datacenter', { CONSUL_NAMESPACE: 'n' }, { datacenter: 'd' }, { namespace: 'n', datacenter: 'd' }],
  ['basic authentication', { CONSUL_HTTP_AUTH: 'u:p' }, {}, { auth: 'u:p' }],
];

describe('client options from', () => {
  test.each(cases)('%s', (_, env, flags, expected) => {
    expect(resolveClientOptions(env, flags)).toMatchObject(expected);
  });

  test('a token file: it beats every token, unless it is empty', () => {
    const token = (env: NodeJS.ProcessEnv, flags: ClientFlags): string => resolveClientOptions(env, flags).token;
    expect(token({}, { token: 'flag', tokenFile: join(dir, 'token') })).toBe('from-file');
    expect(token({ CONSUL_HTTP_TOKEN_FILE: join(dir, 'token') }, { token: 'flag' })).toBe('from-file');
    expect(token({}, { token: 'flag', tokenFile: join(dir, 'empty') })).toBe('flag');
    expect(() => token({}, { tokenFile: '/nonexistent' })).toThrow(
      'Error loading token file: open /nonexistent: no such file or directory',
    );
  });

  test('certificates of a file or of a folder', () => {
    const pem = join(dir, 'pem');
    expect(
      resolveClientOptions({ CONSUL_HTTP_SSL_VERIFY: 'false' }, { caFile: pem, clientCert: pem, clientKey: pem }).tls,
    ).toEqual({ ca: ['PEM'], cert: 'PEM', key: 'PEM', serverName: undefined, verify: false });
    expect(resolveClientOptions({ CONSUL_CAPATH: dir }).tls.ca).toHaveLength(3);
    expect(() => resolveClientOptions({}, { clientCert: pem })).toThrow('both client cert and client key');
  });

  test.each([
    ['Unknown protocol scheme: ftp', {}, { httpAddr: 'ftp://x' }],
    ['CONSUL_HTTP_SSL: "maybe" is not a boolean', { CONSUL_HTTP_SSL: 'maybe' }, {}],
  ] as const)('refuses: %s', (message, env, flags) => {
    expect(() => resolveClientOptions(env, flags)).toThrow(message);
  });
});
