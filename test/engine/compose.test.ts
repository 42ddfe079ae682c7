// The one-box stack as its file says to bring it up: built by BuildKit, asked from its own containers.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitUntil } from '../helpers/wait.ts';
import { BuildEngine, buildSkipReason, repository } from './support/base-images.ts';
import { engineSkipReason } from './support/dockerd.ts';

const skip = (engineSkipReason({ own: true }) ?? (await buildSkipReason())) !== undefined;
const agentAddress = '172.30.85.2';

interface HealthEntry {
  readonly Node: { readonly Node: string; readonly Address: string };
  readonly Service: { readonly Address: string; readonly Port: number; readonly Tags: readonly string[] };
  readonly Checks: readonly { readonly Name: string; readonly Type: string; readonly Status: string }[];
}

describe.skipIf(skip)('the one-box stack', () => {
  let build: BuildEngine;
  let environment: Readonly<Record<string, string>>;

  const compose = (...args: string[]): Promise<string> =>
    build.cli(['compose', ...args], { cwd: join(repository, 'compose/one-box'), env: environment });
  const inside = (service: string, ...command: string[]): Promise<string> => compose('exec', '-T', service, ...command);

  beforeAll(async () => {
    build = await BuildEngine.start();
    environment = { DOCKER_SOCKET: build.socket, DOCKER_GID: await build.socketGroup() };
    await compose('up', '-d', '--build');
  });

  afterAll(async () => {
    await build?.engine.close();
  });

  const passing = async (service: string): Promise<readonly HealthEntry[]> =>
    JSON.parse(
      await inside('shop', 'wget', '-q', '-O', '-', `http://portolan:8500/v1/health/service/${service}?passing`),
    ) as HealthEntry[];

  async function becomes(service: string, instances: number): Promise<readonly HealthEntry[]> {
    let last: readonly HealthEntry[] = [];
    await waitUntil(
      () => `${instances} passing instances of ${service}, not ${JSON.stringify(last)}`,
      async () => {
        last = await passing(service).catch(() => []);
        return last.length === instances;
      },
    );
    return last;
  }

  /** The address a container on the stack's network is told; '' for none. */
  async function resolve(name: string, ...server: string[]): Promise<string> {
    const answer = await inside('stock', 'nslookup', name, ...server).catch(() => '');
    return /Name:.*\nAddress: ([\d.]+)/.exec(answer)?.[1] ?? '';
  }

  test('without DOCKER_GID it says what to type', async () => {
    const unset = build.cli(['compose', 'config'], {
      cwd: join(repository, 'compose/one-box'),
      env: { DOCKER_GID: '' },
    });
    await expect(unset).rejects.toThrow('run: echo DOCKER_GID=$(stat -c %g /var/run/docker.sock) > .env');
  });

  test.each([
    ['shop', 8080, 'docker', 'the shop is open'],
    ['stock', 8081, 'ttl', '7 crates of oranges'],
  ])('%s is found by name, passing, and reached', async (service, port, type, page) => {
    const [entry] = await becomes(service, 1);
    const format = '{{(index .NetworkSettings.Networks "one-box_box").IPAddress}}';
    const address = await build.engine.docker('inspect', `one-box-${service}-1`, '--format', format);
    expect(entry).toMatchObject({
      Node: { Node: 'one-box', Address: agentAddress },
      Service: { Address: address, Port: port },
    });
    expect(entry!.Checks.map((check) => check.Type)).toContain(type);
    expect(await resolve(`${service}.service.consul`)).toBe(address);
    expect(await inside('stock', 'wget', '-q', '-O', '-', `http://${service}.service.consul:${port}/`)).toBe(page);
  });

  test('nothing else is registered, not even the agent', async () => {
    const services = await inside('shop', 'wget', '-q', '-O', '-', 'http://portolan:8500/v1/catalog/services');
    expect(JSON.parse(services)).toEqual({ consul: [], shop: ['demo', 'web'], stock: [] });
  });

  test('names outside .consul are passed on', async () => {
    expect(await resolve('portolan', agentAddress)).toBe(agentAddress);
  });

  // The exec check of the one and the HEALTHCHECK of the other ask for the page.
  test.each(['shop', 'stock'])('%s leaves DNS when its check fails, and returns', async (service) => {
    await inside(service, 'mv', '/www/index.html', '/www/closed.html');
    await becomes(service, 0);
    expect(await resolve(`${service}.service.consul`)).toBe('');
    await inside(service, 'mv', '/www/closed.html', '/www/index.html');
    await becomes(service, 1);
    expect(await resolve(`${service}.service.consul`)).not.toBe('');
  });

  test('two of one service are two addresses', async () => {
    await compose('up', '-d', '--no-build', '--scale', 'shop=2');
    const entries = await becomes('shop', 2);
    expect(new Set(entries.map(({ Service }) => Service.Address)).size).toBe(2);
    await compose('up', '-d', '--no-build', '--scale', 'shop=1');
    await becomes('shop', 1);
  });

  test('the agent is healthy, leaves cleanly, and the stack goes down', async () => {
    await compose('up', '-d', '--no-build', '--wait');
    await compose('stop', '-t', '2', 'portolan');
    expect(await build.engine.docker('inspect', '--format', '{{.State.ExitCode}}', 'one-box-portolan-1')).toBe('0');
    const log = await compose('logs', 'portolan');
    expect(log).toContain('Graceful exit completed');
    // Inside the stack the addresses are right as they are.
    expect(log).not.toContain('is an address inside the container network');
    await compose('down', '-v');
    expect(await build.engine.docker('ps', '-aq')).toBe('');
  });
});
