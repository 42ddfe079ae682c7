// The mistakes of reference/container-environments.md §10.
import { expect, test } from 'vitest';
import { checkPublishedPorts } from '../../../src/environment/index.ts';
import { published } from './worlds.ts';

const client = { serfLan: 8301, serfWan: 0, server: 0 };
const server = { serfLan: 8301, serfWan: 8302, server: 8300 };

test.each<[string, readonly string[], number | null, RegExp | null, string]>([
  ['both, same number', ['8301:8301/tcp', '8301:8301/udp'], 8301, null, ''],
  ['both, another number', ['18301:8301/tcp', '18301:8301/udp'], 18301, null, ''],
  ['nothing', [], null, /not published/, '-p 8301:8301 -p 8301:8301/udp'],
  ['another port only', ['8500:8500/tcp'], null, /not published/, '-p 8301:8301 -p 8301:8301/udp'],
  ['TCP only', ['8301:8301/tcp'], 8301, /TCP only/, 'add -p 8301:8301/udp'],
  ['TCP only, another number', ['18301:8301/tcp'], 18301, /TCP only/, 'add -p 18301:8301/udp'],
  ['UDP only', ['18301:8301/udp'], null, /UDP only/, 'add -p 18301:8301'],
  [
    'different numbers, as -P gives',
    ['32768:8301/tcp', '32769:8301/udp'],
    null,
    /32768\/tcp but 32769\/udp/,
    '-P cannot',
  ],
  ['loopback', ['127.0.0.1:8301:8301/tcp', '127.0.0.1:8301:8301/udp'], null, /on 127\.0\.0\.1 only/, '-p 8301:8301'],
  ['UDP on loopback', ['8301:8301/tcp', '127.0.0.1:8301:8301/udp'], null, /on 127\.0\.0\.1 only/, '-p 8301:8301'],
  ['loopback and another', ['127.0.0.1:8301:8301/tcp', '8301:8301/tcp', '8301:8301/udp'], 8301, null, ''],
])('%s', (_title, specs, hostPort, warning, fix) => {
  const [check] = checkPublishedPorts(published(...specs), client);
  expect(check!.hostPort).toBe(hostPort);
  expect(check!.warnings).toHaveLength(warning === null ? 0 : 1);
  if (warning === null) return;
  expect(check!.warnings[0]!.text).toMatch(warning);
  expect(check!.warnings[0]!.fix).toContain(fix);
});

test('a server needs WAN gossip and its RPC port too, RPC without UDP', () => {
  const checks = checkPublishedPorts(published('8301:8301/tcp', '8301:8301/udp', '8300:8300/tcp'), server);
  expect(checks.map(({ name, hostPort, warnings }) => [name, hostPort, warnings.length])).toEqual([
    ['LAN gossip', 8301, 0],
    ['WAN gossip', null, 1],
    ['server RPC', 8300, 0],
  ]);
});
