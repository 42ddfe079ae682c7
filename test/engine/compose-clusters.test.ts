// The clusters in compose/ as their files say to bring them up, with Portolan servers and with real Consul servers:
// members, services from every server's view, the loss of a leader and its return.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitUntil } from '../helpers/wait.ts';
import { BuildEngine, buildSkipReason, repository } from './support/base-images.ts';
import { engineSkipReason } from './support/dockerd.ts';
import { importPrograms, realConsul } from './support/program-image.ts';

const noEngine = engineSkipReason({ own: true }) ?? (await buildSkipReason());
const consul = noEngine === undefined ? await realConsul() : { reason: noEngine };
const consulImage = 'stand-in/consul';
const servers = ['server-1', 'server-2', 'server-3'] as const;
/** Until a cluster of three, built from nothing on a loaded machine, has settled (ms). */
const settleMs = 90_000;

/** Of each test, and of bringing everything up, on a machine that has other things to do (ms). */
const limitMs = 240_000;

describe.each([
  { folder: 'cluster', program: 'portolan', skip: noEngine !== undefined },
  { folder: 'consul-servers', program: 'consul', skip: 'reason' in consul },
])('compose/$folder', ({ folder, program, skip }) => {
  describe.skipIf(skip)('brought up', { timeout: limitMs }, () => {
    let build: BuildEngine;
    let environment: Readonly<Record<string, string>>;

    const compose = (...args: string[]): Promise<string> =>
      build.cli(['compose', '--progress', 'quiet', ...args], {
        cwd: join(repository, 'compose', folder),
        env: environment,
      });
    const inside = (service: string, ...command: string[]): Promise<string> =>
      compose('exec', '-T', service, ...command);

    beforeAll(async () => {
      build = await BuildEngine.start();
      if ('binary' in consul) {
        await importPrograms(build.engine, consulImage, {
          programs: [consul.binary],
          changes: ['ENTRYPOINT ["consul"]', 'VOLUME /consul/data', 'EXPOSE 8300 8500 8600/udp'],
        });
      }
      environment = { DOCKER_SOCKET: build.socket, DOCKER_GID: await build.socketGroup(), CONSUL_IMAGE: consulImage };
      await compose('up', '-d', '--build', '--wait', '--wait-timeout', String(settleMs / 1000));
    }, limitMs);

    afterAll(async () => {
      await build?.engine.close();
    });

    /** Waits until what a command says is good; its last words otherwise. */
    async function settles(
      what: string,
      look: () => Promise<string>,
      good: (said: string) => boolean,
    ): Promise<string> {
      let last = '';
      await waitUntil(
        () => `${what}\n${last}`,
        async () => {
          last = await look().catch((error: unknown) => (error as Error).message);
          return good(last);
        },
        settleMs,
      );
      return last;
    }

    /** Names of the servers with their part in the consensus, by the word of one of them. */
    const peers = async (server: string): Promise<Readonly<Record<string, string>>> => {
      const table = await inside(server, program, 'operator', 'raft', 'list-peers');
      const rows = table.split('\n').map((row) => row.trim().split(/ +/));
      return Object.fromEntries(
        rows.filter(([name = '']) => name.startsWith('server-')).map((row) => [row[0]!, row[3]!]),
      );
    };
    const passing = (service: string): Promise<string> =>
      inside('stock', 'wget', '-q', '-O', '-', `http://client:8500/v1/health/service/${service}?passing`);
    const one = (said: string): boolean => said.startsWith('[{') && (JSON.parse(said) as unknown[]).length === 1;

    test('without DOCKER_GID it says what to type', async () => {
      const unset = build.cli(['compose', 'config'], {
        cwd: join(repository, 'compose', folder),
        env: { DOCKER_GID: '' },
      });
      await expect(unset).rejects.toThrow('run: echo DOCKER_GID=$(stat -c %g /var/run/docker.sock) > .env');
    });

    test('has three servers, one of them leading, and a client', async () => {
      expect(Object.values(await peers('server-1')).sort()).toEqual(['follower', 'follower', 'leader']);
      const members = await settles(
        'four members alive',
        () => inside('client', 'portolan', 'members'),
        (said) => said.match(/ alive /g)?.length === 4,
      );
      expect(members).toMatch(/^client +172\.30\.8[67]\.2:8301 +alive +client /m);
    });

    test.each([
      ['shop', 8080, 'the shop is open'],
      ['stock', 8081, '7 crates of oranges'],
    ])('%s is found by name, passing, and reached', async (service, port, page) => {
      await settles(`${service} passing`, () => passing(service), one);
      expect(await inside('stock', 'wget', '-q', '-O', '-', `http://${service}.service.consul:${port}/`)).toBe(page);
    });

    test.each(servers)('%s lists the services and nothing else', async (server) => {
      const listed = await inside(server, program, 'catalog', 'services');
      expect(listed.split('\n').sort()).toEqual(['consul', 'shop', 'stock']);
    });

    test('a leader that is killed is replaced and comes back; services are found throughout', async () => {
      const before = await peers('server-1');
      const leader = servers.find((server) => before[server] === 'leader')!;
      const [other] = servers.filter((server) => server !== leader);
      await compose('kill', leader);
      // From what the client knows and what the others have.
      expect(await inside('stock', 'wget', '-q', '-O', '-', 'http://shop.service.consul:8080/')).toBe(
        'the shop is open',
      );
      await settles(
        'another leader',
        async () => JSON.stringify(await peers(other!)),
        (said) => said.includes('"leader"') && !said.includes(`"${leader}":"leader"`),
      );
      await settles('the shop passing', () => passing('shop'), one);

      await inside('shop', 'mv', '/www/index.html', '/www/closed.html');
      await settles(
        'the shop gone',
        () => passing('shop'),
        (said) => said === '[]',
      );
      await inside('shop', 'mv', '/www/closed.html', '/www/index.html');
      await settles('the shop passing', () => passing('shop'), one);

      await compose('start', leader);
      await settles(
        `${leader} alive and a follower`,
        async () => `${await inside(other!, program, 'members')}\n${JSON.stringify(await peers(other!))}`,
        (said) => new RegExp(`^${leader} .* alive `, 'm').test(said) && said.includes(`"${leader}":"follower"`),
      );
    });

    test('goes down without remains', async () => {
      await compose('down', '-v');
      expect(await build.engine.docker('ps', '-aq')).toBe('');
      expect(await build.engine.docker('volume', 'ls', '-q')).toBe('');
    });
  });
});
