// reference/registrator.md §7 row by row, and R30–R34.
import { describe, expect, test } from 'vitest';
import type { CheckDefinition } from '../../../src/model/index.ts';
import type { Mapping, RegistratorOptions } from '../../../src/registrator/index.ts';
import { needsShell, splitWords } from '../../../src/registrator/words.ts';
import { type Box, idOf, map } from './support.ts';

const publish = { '80': ['8080'] };
const id = 'service:reghost:w1:80';
function mapped(env: readonly string[], options: Partial<RegistratorOptions> = {}, box: Box = {}): Mapping {
  return map({ publish, env: env.map((each) => `SERVICE_CHECK_${each}`), ...box }, options);
}
function checks(
  env: readonly string[],
  options: Partial<RegistratorOptions> = {},
  box: Box = {},
): readonly CheckDefinition[] {
  return mapped(env, options, box).services[0]!.definition.checks!;
}
const at = '10.99.0.10:8080';
const http = { id, intervalMs: 10_000, http: `http://${at}/path` };

describe('§7 checks', () => {
  const rows: readonly (readonly [
    string,
    readonly string[],
    Partial<CheckDefinition>,
    Partial<RegistratorOptions>?,
  ])[] = [
    ['CHECK_HTTP=/path', ['HTTP=/path'], http],
    ['CHECK_HTTP without slash is joined with one', ['HTTP=path'], http],
    [
      'CHECK_TIMEOUT, CHECK_HTTP_METHOD',
      ['HTTP=/path', 'TIMEOUT=3s', 'HTTP_METHOD=head'],
      { ...http, timeoutMs: 3000, method: 'HEAD' },
    ],
    [
      'CHECK_HTTPS=/path, CHECK_HTTPS_METHOD',
      ['HTTPS=/path', 'HTTPS_METHOD=PUT'],
      { id, intervalMs: 10_000, http: `https://${at}/path`, method: 'PUT' },
    ],
    [
      'CHECK_CMD=cmd',
      ['CMD=cmd'],
      { id, intervalMs: 10_000, scriptArgs: ['check-cmd', idOf('w1').slice(0, 12), '80', 'cmd'] },
      { scriptChecks: true },
    ],
    [
      'CHECK_SCRIPT=cmd after replacing $SERVICE_IP, $SERVICE_PORT (through a shell, R32)',
      ['SCRIPT=nc -z $SERVICE_IP $SERVICE_PORT ${SERVICE_ID} $CONTAINER_ID'],
      { id, intervalMs: 10_000, scriptArgs: ['sh', '-c', `nc -z 10.99.0.10 8080 reghost:w1:80 ${idOf('w1')}`] },
      { scriptChecks: true },
    ],
    ['CHECK_TTL=30s', ['TTL=30s'], { id, ttlMs: 30_000 }],
    ['CHECK_TCP=anything', ['TCP=yes'], { id, intervalMs: 10_000, tcp: at }],
    ['CHECK_GRPC=anything', ['GRPC=1', 'TIMEOUT=1s'], { id, intervalMs: 10_000, grpc: at, timeoutMs: 1000 }],
    [
      'CHECK_GRPC_USE_TLS, CHECK_TLS_SKIP_VERIFY',
      ['GRPC=1', 'GRPC_USE_TLS=1', 'TLS_SKIP_VERIFY=1'],
      { id, intervalMs: 10_000, grpc: at, grpcUseTls: true, tlsSkipVerify: true },
    ],
    [
      'CHECK_DOCKER (R31)',
      ['DOCKER=curl -f http://localhost/'],
      { id, intervalMs: 10_000, dockerContainerId: idOf('w1'), scriptArgs: ['curl', '-f', 'http://localhost/'] },
    ],
    [
      'CHECK_INTERVAL, CHECK_INITIAL_STATUS, CHECK_DEREGISTER_AFTER',
      ['TCP=1', 'INTERVAL=1m', 'INITIAL_STATUS=passing', 'DEREGISTER_AFTER=10m'],
      { id, intervalMs: 60_000, status: 'passing', deregisterCriticalServiceAfterMs: 600_000, tcp: at },
    ],
    ['the first kind in order wins', ['TCP=1', 'HTTP=/path'], http],
  ];
  test.each(rows.map(([title, ...row]) => [title, row] as const))('%s', (_, [env, expected, options]) => {
    expect(checks(env, options)).toEqual([expected]);
  });

  test('without one of the check kinds the others create no check', () => {
    expect(checks(['INTERVAL=1s', 'TIMEOUT=1s', 'INITIAL_STATUS=passing'])).toEqual([]);
  });
  test('every key has a port form', () => {
    expect(map({ publish, env: ['SERVICE_80_CHECK_HTTP=/path'] }).services[0]?.definition.checks).toEqual([http]);
  });
  test('a general SERVICE_CHECK_HTTP applies to every port of the container', () => {
    const { services } = map({ publish: { '80': ['8080'], '81': ['8081'] }, env: ['SERVICE_CHECK_HTTP=/'] });
    expect(services.map(({ definition }) => definition.checks?.[0]?.http)).toEqual([
      `http://${at}/`,
      'http://10.99.0.10:8081/',
    ]);
  });
  test('IPv6 is bracketed (R20)', () => {
    expect(checks(['TCP=1'], { ip: '2001:db8::1' })[0]?.tcp).toBe('[2001:db8::1]:8080');
  });
  test('script checks off: service without check and a note (R32)', () => {
    const mapping = mapped(['SCRIPT=true']);
    expect(mapping.services[0]?.definition.checks).toEqual([]);
    expect(mapping.notes[0]).toContain('enable_script_checks');
  });
  test.each(['INTERVAL=bogus', 'TIMEOUT=5', 'INITIAL_STATUS=up', 'HEADERS=nope'])(
    'a bad %s never loses the service: a critical note takes the place of the check (R13)',
    (bad) => {
      const mapping = mapped(['HTTP=/', bad]);
      expect(mapping.services[0]?.definition.checks).toMatchObject([{ id: `${id}:note`, status: 'critical' }]);
      expect(mapping.services[0]?.fed[0]).toMatchObject({ status: 'critical' });
      expect(mapping.services[0]?.fed[0]?.output).toContain('SERVICE_CHECK_');
    },
  );
});

describe('R30 the HEALTHCHECK mirror', () => {
  const mirror = (box: Box, options: Partial<RegistratorOptions> = {}): string | undefined =>
    map({ publish, ...box }, options).services[0]?.fed.map(({ status, output }) => `${status} ${output}`)[0];

  test('starting, healthy, unhealthy with the last output', () => {
    expect(mirror({ health: 'starting' })).toContain('critical');
    expect(mirror({ health: 'starting' }, { healthStarting: 'passing' })).toContain('passing');
    expect(mirror({ health: 'healthy', healthOutput: 'fine\n' })).toBe('passing fine');
    expect(mirror({ health: 'unhealthy', healthOutput: 'broken' })).toBe('critical broken');
    expect(mirror({})).toBeUndefined();
    expect(mirror({ health: 'healthy' }, { healthcheck: false })).toBeUndefined();
    expect(mirror({ health: 'healthy', env: ['SERVICE_CHECK_HEALTH=false'] })).toBeUndefined();
  });
  test('a status change is no change of the definition', () => {
    const definition = (health: 'healthy' | 'unhealthy'): unknown =>
      map({ publish, health }).services[0]!.definition.meta;
    expect(definition('healthy')).toEqual(definition('unhealthy'));
  });
  test('a paused container says "unhealthy" and means nothing', () => {
    expect(map({ publish, health: 'unhealthy', paused: true }).services[0]?.fed[0]?.status).toBeUndefined();
  });
  test('delay until healthy', () => {
    expect(map({ publish, health: 'starting' }, { delayUntilHealthy: true }).services).toEqual([]);
    expect(
      map({ publish, health: 'unhealthy' }, { delayUntilHealthy: true }, { everHealthy: true }).services,
    ).toHaveLength(1);
    expect(map({ publish }, { delayUntilHealthy: true }).services).toHaveLength(1);
  });
  test('what is fed stays below the output limit of agents', () => {
    const output = map({ publish, health: 'healthy', healthOutput: 'x'.repeat(4099) }).services[0]!.fed[0]!.output;
    expect(output.length).toBeLessThan(4096);
  });
});

describe('R31–R34', () => {
  const argv = (...env: string[]): readonly string[] | undefined => checks(env)[0]?.scriptArgs;
  test('R31: a shell when asked for or needed', () => {
    expect(argv('EXEC=a "b c"')).toEqual(['a', 'b c']);
    expect(argv('DOCKER=a | b')).toEqual(['/bin/sh', '-c', 'a | b']);
    expect(argv('DOCKER=a | b', 'SHELL=false')).toEqual(['a', '|', 'b']);
    expect(argv('DOCKER=a b', 'SHELL=/bin/bash')).toEqual(['/bin/bash', '-c', 'a b']);
    expect(argv('DOCKER=a b', 'SHELL=true')).toEqual(['/bin/sh', '-c', 'a b']);
    expect(checks(['DOCKER=a "b'])[0]?.id).toBe(`${id}:note`);
    expect(mapped(['DOCKER=a'], { execChecks: false }).notes[0]).toContain('commands in containers are off');
  });
  test('words and quotes', () => {
    expect(splitWords(String.raw`a 'b c' "d \"e\" \x" f\ g ''`)).toEqual(['a', 'b c', String.raw`d "e" \x`, 'f g', '']);
    expect(splitWords("a 'b")).toBeUndefined();
    expect([needsShell('a "b|c"'), needsShell("a '$b'"), needsShell('a "$b"'), needsShell('a > b')]).toEqual([
      false,
      false,
      true,
      true,
    ]);
  });
  test('R33: several checks, headers, body, TLS; false and 0 disable', () => {
    const list = checks([
      '1_HTTP=/a',
      '1_HEADER_X_KEY=v',
      '1_BODY=b',
      '1_TLS_SERVER_NAME=n',
      '2_TCP=1',
      '2_INTERVAL=3s',
      'TTL=1m',
    ]);
    expect(list).toEqual([
      { id, ttlMs: 60_000 },
      {
        id: `${id}:1`,
        intervalMs: 10_000,
        http: `http://${at}/a`,
        header: { 'X-Key': ['v'] },
        body: 'b',
        tlsServerName: 'n',
      },
      { id: `${id}:2`, intervalMs: 3000, tcp: at },
    ]);
    expect(checks(['HTTP=/', 'HEADERS={"A":["1","2"]}'])[0]?.header).toEqual({ A: ['1', '2'] });
    expect(checks(['TCP=false', 'GRPC=0'])).toEqual([]);
  });
  test('R33: UDP ports get TCP checks only from a port-specific variable', () => {
    const udp: Box = { publish: { '53/udp': ['53'] } };
    expect(checks(['TCP=1'], {}, udp)).toEqual([]);
    expect(map({ ...udp, env: ['SERVICE_53_CHECK_TCP=1'] }).services[0]?.definition.checks).toHaveLength(1);
  });
  test('R34: check target', () => {
    expect(checks(['TCP=1'], { checkTarget: 'container' })[0]?.tcp).toBe('172.17.0.2:80');
    expect(checks(['TCP=1'], { checkTarget: 'loopback' })[0]?.tcp).toBe('127.0.0.1:8080');
  });
});
