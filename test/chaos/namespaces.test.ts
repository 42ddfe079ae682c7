// The network that clusters of tests live in does what it says: cables are cut and mended, disks fill, and what a run
// that was killed has left behind is removed by the next.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execFileSync, spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Host, namespacesSkipReason, Network } from '../helpers/namespaces.ts';

const reason = namespacesSkipReason();
if (reason !== undefined && process.env['CI'] === 'true') throw new Error(reason);
if (reason !== undefined) console.log(`chaos: namespaces: ${reason} (skipped)`);

/** Nobody listens there, so a host that is reached refuses. */
const closedPort = 9;

function reaches(from: Host, to: { readonly address: string }): boolean {
  const script = `timeout 1 bash -c 'echo > /dev/tcp/${to.address}/${closedPort}' 2>&1 | grep -q refused`;
  const { status } = spawnSync('nsenter', [`--net=${from.netnsPath}`, 'bash', '-c', script]);
  return status === 0;
}

describe.skipIf(reason !== undefined)('a network of namespaces', () => {
  let network: Network;
  let hosts: readonly [Host, Host, Host];

  beforeAll(() => {
    network = new Network();
    hosts = [network.addHost('a'), network.addHost('b'), network.addHost('c')];
  });

  afterAll(() => network?.close());

  test('cuts and mends cables, and never the one to the test', () => {
    const [a, b, c] = hosts;
    const links = (): readonly boolean[] => [reaches(a, b), reaches(b, a), reaches(a, c), reaches(b, c)];
    expect(links()).toEqual([true, true, true, true]);
    network.partition([a], [b, c]);
    expect(links()).toEqual([false, false, false, true]);
    network.isolate(b);
    expect(links()).toEqual([false, false, true, false]);
    expect(hosts.map((host) => reaches(host, { address: network.ownAddress }))).toEqual([true, true, true]);
    network.heal();
    expect(links()).toEqual([true, true, true, true]);
  });

  test('has no way out', () => {
    expect(hosts[0].run('ip', 'route').split('\n').filter(Boolean)).toHaveLength(1);
    expect(hosts[0].run('ip', 'route')).not.toContain('default');
  });

  test('fills a disk and frees it', () => {
    const path = join(network.directory, 'disk');
    const disk = network.mountDisk(path, 1);
    const write = (): void => writeFileSync(join(path, 'file'), Buffer.alloc(8_192));
    write();
    disk.fill();
    expect(() => writeFileSync(join(path, 'other'), Buffer.alloc(8_192))).toThrow('ENOSPC');
    disk.free();
    write();
  });

  test('removes what a process that is gone has left behind', () => {
    // No process has this id: it is above the kernel's highest.
    const left = 'ptl-99999999-0';
    execFileSync('ip', ['netns', 'add', `${left}-a`]);
    mkdirSync(join(tmpdir(), left), { recursive: true });
    const sleeper = spawnSync('bash', ['-c', `nsenter --net=/run/netns/${left}-a sleep 600 >/dev/null 2>&1 & echo $!`]);
    const pid = sleeper.stdout.toString().trim();
    const other = new Network();
    other.close();
    expect(existsSync(join(tmpdir(), left))).toBe(false);
    expect(readdirSync('/run/netns').filter((name) => name.startsWith(left))).toEqual([]);
    // Ended, whether or not somebody has collected it.
    const state = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : 'Z';
    expect(state).toContain('Z');
  });
});
