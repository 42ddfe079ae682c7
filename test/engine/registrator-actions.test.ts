// What users do to running containers (reference/registrator.md §8) and what the catalog makes of it, on a real engine;
// and `portolan registrator explain` beside it.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { waitUntil } from '../helpers/wait.ts';
import { engineSkipReason } from './support/dockerd.ts';
import { hostName, Registered, type SeenCheck } from './support/registered.ts';

const skip = engineSkipReason({ own: true }) !== undefined;

interface Container {
  readonly id: string;
  readonly name: string;
}

describe.skipIf(skip)('user actions', () => {
  let world: Registered;

  beforeAll(async () => {
    world = await Registered.start({ http: 21_570, dns: 21_670 });
    for (const network of ['n1', 'n2']) await world.engine.docker('network', 'create', network);
  });

  afterEach(async () => {
    await waitUntil('all containers gone', async () => {
      const ids = (await world.engine.docker('ps', '-aq')).split('\n').filter((id) => id !== '');
      // One that removes itself at this moment is refused.
      if (ids.length > 0) await world.engine.docker('rm', '-f', ...ids).catch(() => '');
      return ids.length === 0;
    });
    await waitUntil(
      () => `no service left behind\n${world.agent.log.slice(-3000)}`,
      async () => Object.keys((await world.agent.get('/v1/agent/services')).json as object).length === 0,
    );
  });

  afterAll(async () => {
    await world?.close();
  });

  const docker = (...args: string[]): Promise<string> => world.engine.docker(...args);

  /** A container that starts now is registered only after what the engine reported before was seen. */
  async function fence(): Promise<void> {
    const later = await world.run('fence', '-P', 'acme/one');
    await world.instances(later, 1);
    await docker('rm', '-f', later.id);
    await world.instances(later, 0);
  }

  /** Lines of the agent about registering and deregistering for one container, in order. */
  function deeds({ name }: Container): readonly string[] {
    const line = new RegExp(`((?:de)?registered): service=(\\S+)(?: .*)? container=${name}$`);
    return world.agent.log.split('\n').flatMap((text) => line.exec(text)?.slice(1, 3).join(' ') ?? []);
  }

  function checkOf(serviceId: string, what: string, good: (check: SeenCheck) => boolean): Promise<SeenCheck> {
    return waitUntil(
      () => `${what}\n${world.agent.log.slice(-3000)}`,
      async () => (await world.checks(serviceId)).find(good),
    );
  }

  test('docker create: nothing until start', async () => {
    const id = await docker('create', '--name', 'waiting', '-p', '8100:80', 'acme/one');
    const container = { id, name: 'waiting' };
    await fence();
    expect(await world.services(container)).toEqual([]);
    const [explained] = await world.explain('waiting');
    expect(explained).toMatchObject({ state: 'created', services: [] });
    expect(explained!.skipped[0]!.reason).toContain('the container is created');
    await docker('start', id);
    expect(await world.instances(container, 1)).toMatchObject([{ id: '80', port: 8100 }]);
  });

  test('rename: the new ID stands before the old one goes (R5)', async () => {
    const before = await world.run('before', '-p', '8101:80', 'acme/one');
    await world.instances(before, 1);
    await docker('rename', 'before', 'after');
    const after = { id: before.id, name: 'after' };
    const [service] = await world.settled(
      () => world.services(after),
      (found) => found.length === 1 && found[0]!.id === '80',
    );
    expect(service).toMatchObject({ id: '80', name: 'one', port: 8101 });
    // The log may arrive a little later than the answer.
    const log = await world.settled(
      () => Promise.resolve(deeds(after)),
      ({ length }) => length === 2,
    );
    expect(log).toEqual([`registered ${hostName}:after:80`, `deregistered ${hostName}:before:80`]);
  });

  test('stop: removed; start: added with its new random port', async () => {
    const container = await world.run('stopper', '-P', 'acme/one');
    await world.instances(container, 1);
    await docker('stop', '-t', '0', container.id);
    await world.instances(container, 0);
    expect(await world.inDns('one')).toEqual([]);
    await docker('start', container.id);
    const [service] = await world.instances(container, 1);
    expect(`${service!.port}`).toBe((await docker('port', 'stopper', '80/tcp')).split('\n')[0]!.split(':')[1]);
  });

  test('restart: there again, with the port it has now', async () => {
    const container = await world.run('restarter', '-P', 'acme/one');
    await world.instances(container, 1);
    await docker('restart', '-t', '0', container.id);
    const port = Number((await docker('port', 'restarter', '80/tcp')).split('\n')[0]!.split(':')[1]);
    const found = await world.settled(
      () => world.services(container),
      (services) => services.length === 1 && services[0]!.port === port,
    );
    expect(found).toMatchObject([{ id: '80', port }]);
  });

  test('kill -s HUP: nothing', async () => {
    const container = await world.run('reloader', '-p', '8102:80', 'acme/plain');
    await world.instances(container, 1);
    await docker('kill', '-s', 'HUP', container.id);
    await fence();
    expect(await world.services(container)).toHaveLength(1);
    expect(deeds(container)).toEqual([`registered ${hostName}:reloader:80`]);
  });

  test('rm -f: removed', async () => {
    const container = await world.run('removed', '-p', '8103:80', 'acme/one');
    await world.instances(container, 1);
    await docker('rm', '-f', container.id);
    await world.instances(container, 0);
  });

  test('the name given to another container at once: the ID is its own', async () => {
    const first = await world.run('twin', '-p', '8104:80', 'acme/one');
    await world.instances(first, 1);
    await docker('rm', '-f', first.id);
    const second = await world.run('twin', '-p', '8105:80', 'acme/one');
    expect(await world.instances(second, 1)).toMatchObject([{ id: '80', port: 8105 }]);
    expect(await world.services(first)).toEqual([]);
  });

  test('crash, exit 3, --rm: removed in mode always', async () => {
    const waits = 'while [ ! -e /tmp/go ]; do sleep 0.1; done; exit 3';
    const container = await world.run('crasher', '--rm', '-p', '8106:80', 'acme/one', 'sh', '-c', waits);
    await world.instances(container, 1);
    await docker('exec', container.id, 'touch', '/tmp/go');
    await world.instances(container, 0);
  });

  test('out of memory: removed, and said', async () => {
    const grows = 'while [ ! -e /tmp/go ]; do sleep 0.1; done; x=a; while true; do x=$x$x; done';
    const container = await world.run('eater', '-m', '16m', '-p', '8107:80', 'acme/one', 'sh', '-c', grows);
    await world.instances(container, 1);
    await docker('exec', container.id, 'touch', '/tmp/go');
    await world.instances(container, 0);
    expect(await docker('inspect', '-f', '{{.State.OOMKilled}} {{.State.ExitCode}}', container.id)).toBe('true 137');
    await waitUntil('the line about it', () => /ran out of memory: container=eater/.test(world.agent.log));
  });

  test('pause: critical while frozen; unpause reverts (R7)', async () => {
    const container = await world.run('frozen', '-p', '8108:80', 'acme/one');
    await world.instances(container, 1);
    await docker('pause', container.id);
    const id = `${hostName}:frozen:80`;
    const check = await checkOf(id, 'the pause to be noticed', ({ output }) => output === 'the container is paused');
    expect(check.status).toBe('critical');
    expect(
      await world.settled(
        () => world.inDns('one'),
        (found) => found.length === 0,
      ),
    ).toEqual([]);
    await docker('unpause', container.id);
    expect(
      await world.settled(
        () => world.checks(id),
        (checks) => checks.length === 0,
      ),
    ).toEqual([]);
    expect(
      await world.settled(
        () => world.inDns('one'),
        (found) => found.length === 1,
      ),
    ).toHaveLength(1);
    expect(await world.services(container)).toHaveLength(1);
  });

  test('network connect and disconnect: the address follows', async () => {
    const container = await world.run(
      'traveller',
      '--network=n1',
      '--label=SERVICE_INTERNAL=true',
      '--label=SERVICE_NETWORK=n2',
      'acme/one',
    );
    const on = async (network: string): Promise<void> => {
      const template = `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`;
      const address = await docker('inspect', '-f', template, container.id);
      const found = await world.settled(
        () => world.services(container),
        (services) => services[0]?.address === address,
      );
      expect(found).toMatchObject([{ id: '80', address, port: 80 }]);
    };
    await on('n1');
    await docker('network', 'connect', 'n2', container.id);
    await on('n2');
    await docker('network', 'disconnect', 'n2', container.id);
    await on('n1');
  });

  test('a restart-policy loop keeps one critical service instead of adding and removing it (R9)', async () => {
    const container = await world.run('looper', '--restart=always', '-p', '8109:80', 'acme/one', 'sh', '-c', 'exit 3');
    const id = `${hostName}:looper:80`;
    const check = await checkOf(id, 'the loop to be noticed', ({ output }) => output.includes('restart loop'));
    expect(check).toMatchObject({ status: 'critical' });
    expect(check.output).toContain('last exit code 3');
    const turns = async (): Promise<number> => Number(await docker('inspect', '-f', '{{.RestartCount}}', container.id));
    const seen = await turns();
    const before = deeds(container).filter((deed) => deed.startsWith('deregistered')).length;
    await waitUntil('two more turns', async () => {
      expect(await world.services(container)).toHaveLength(1);
      return (await turns()) >= seen + 2;
    });
    expect(deeds(container).filter((deed) => deed.startsWith('deregistered'))).toHaveLength(before);
  });

  test('recreation as compose does it: one clean replacement', async () => {
    const old = await world.run('web', '-p', '8110:80', 'acme/one');
    await world.instances(old, 1);
    const id = await docker('create', '--name', 'deadbeef_web', '-p', '8110:80', 'acme/one');
    await docker('stop', '-t', '0', old.id);
    await docker('rm', old.id);
    await docker('rename', 'deadbeef_web', 'web');
    await docker('start', id);
    expect(await world.instances({ id, name: 'web' }, 1)).toMatchObject([{ id: '80', port: 8110 }]);
    expect(Object.keys((await world.agent.get('/v1/agent/services')).json as object)).toEqual([`${hostName}:web:80`]);
  });

  test('the owner of a network stops: what uses its network goes (R18)', async () => {
    const owner = await world.run('owner', '-p', '8111:80', 'acme/plain');
    const guest = await world.run('guest', '--network', 'container:owner', 'acme/one');
    await world.instances(guest, 1);
    await docker('stop', '-t', '0', owner.id);
    await world.instances(owner, 0);
    await world.instances(guest, 0);
    const [explained] = await world.explain('guest');
    expect(explained!.skipped[0]!.reason).toContain('is not running');
    await docker('start', owner.id);
    await world.instances(guest, 1);
  });

  test('two containers ask for one ID: the second waits, says so, and takes over', async () => {
    const first = await world.run('holder', '-p', '8112:80', '-l', 'SERVICE_ID=one-id', 'acme/one');
    await world.instances(first, 1);
    const second = await world.run('claimant', '-p', '8113:80', '-l', 'SERVICE_ID=one-id', 'acme/one');
    await waitUntil('the warning', () => world.agent.log.includes('one-id is held by container holder'));
    expect(await world.services(second)).toEqual([]);
    await docker('rm', '-f', first.id);
    expect(await world.instances(second, 1)).toMatchObject([{ id: 'one-id', port: 8113 }]);
  });

  describe('explain', () => {
    test('a registered container: each value and where it comes from', async () => {
      await world.run('shown', '-p', '8114:80', '-e', 'SERVICE_NAME=shop', '-l', 'SERVICE_TAGS=a', 'acme/one');
      const [explained] = await world.explain('shown');
      expect(explained).toMatchObject({ name: 'shown', state: 'running', skipped: [], notes: [] });
      const { hostAddress } = world.engine;
      expect(explained!.services).toMatchObject([
        { id: `${hostName}:shown:80`, name: 'shop', address: hostAddress, port: 8114, tags: ['a'] },
      ]);
      const because = new Map(explained!.services[0]!.decisions.map((each) => [each.what, each.because]));
      expect(because.get('name')).toBe('env SERVICE_NAME');
      expect(because.get('tags')).toBe('label SERVICE_TAGS');
      expect(because.get('address')).toContain('advertised address');
      expect(because.get('port')).toBe('published by the engine');
      const text = await world.explainText('shown');
      expect(text).toMatch(/^shown \([0-9a-f]{12}, image acme\/one, running\)$/m);
      expect(text).toMatch(/^ {2}port 80\/tcp -> service shop$/m);
      expect(text).toMatch(/^ {4}name +shop +env SERVICE_NAME$/m);
    });

    test('a skipped container: why, and what to set', async () => {
      await world.run('hidden', 'acme/one');
      const [explained] = await world.explain('hidden');
      expect(explained).toMatchObject({
        services: [],
        skipped: [{ port: '80/tcp', reason: 'not published on the host' }],
      });
      expect(await world.explainText('hidden')).toMatch(
        /port 80\/tcp not registered: not published on the host\n +to change it: publish it with -p or -P, or set SERVICE_INTERNAL=true/,
      );
      // What it recommends works.
      await docker('rm', '-f', 'hidden');
      const heeded = await world.run('heeded', '-l', 'SERVICE_INTERNAL=true', 'acme/one');
      await world.instances(heeded, 1);
    });

    test('a check that cannot run says what to set (R32)', async () => {
      await world.run('scripted', '-p', '8115:80', '-e', 'SERVICE_CHECK_SCRIPT=true', 'acme/one');
      const [explained] = await world.explain('-script-checks=false', 'scripted');
      expect(explained!.services).toHaveLength(1);
      expect(explained!.notes.join()).toContain('SERVICE_CHECK_SCRIPT: no check, script checks are off');
    });

    test('the flags of the registrator that runs', async () => {
      await world.run('flagged', '-p', '8116:80', 'acme/one');
      const [internal] = await world.explain('-internal', 'flagged');
      const address = await docker('inspect', '-f', '{{.NetworkSettings.Networks.bridge.IPAddress}}', 'flagged');
      expect(internal!.services).toMatchObject([{ address, port: 80 }]);
      const [ip] = await world.explain('-ip=192.0.2.1', '-tags=x,{{.Name}}', 'flagged');
      expect(ip!.services).toMatchObject([{ address: '192.0.2.1', port: 8116, tags: ['x', '/flagged'] }]);
      const [explicit] = await world.explain('-explicit', 'flagged');
      expect(explicit!.skipped).toMatchObject([{ reason: '-explicit is on and no name is given' }]);
    });
  });
});

describe.skipIf(skip)('swarm', () => {
  test('§4 §6 host-mode task and overlay: the host address; ingress task: ignored', async () => {
    const world = await Registered.start({ http: 21_575, dns: 21_675 });
    try {
      const { docker, hostAddress } = {
        docker: world.engine.docker.bind(world.engine),
        hostAddress: world.engine.hostAddress,
      };
      await docker('swarm', 'init', '--advertise-addr', hostAddress);
      await docker('network', 'create', '-d', 'overlay', '--attachable', 'over');
      const create = ['service', 'create', '-d', '--no-resolve-image'];
      await docker(...create, '--name', 'inhost', '-p', 'mode=host,published=8201,target=80', 'acme/one');
      await docker(...create, '--name', 'ingress', '-p', '8202:80', 'acme/one');
      const task = (service: string): Promise<Container> =>
        waitUntil(`a task of ${service}`, async () => {
          const filter = `label=com.docker.swarm.service.name=${service}`;
          const [id, name] = (await docker('ps', '--no-trunc', '-f', filter, '--format', '{{.ID}} {{.Names}}')).split(
            ' ',
          );
          return id !== undefined && id !== '' && { id, name: name! };
        });
      const overlay = await world.run('attached', '--network', 'over', '-p', '8203:80', 'acme/one');
      expect(await world.instances(overlay, 1)).toMatchObject([{ address: hostAddress, port: 8203 }]);
      expect(await world.instances(await task('inhost'), 1)).toMatchObject([
        { id: '80', name: 'one', address: hostAddress, port: 8201 },
      ]);
      const ignored = await task('ingress');
      await waitUntil('the ingress task to be looked at', () =>
        world.agent.log.includes(`not registered: not published on the host: container=${ignored.name}`),
      );
      expect(await world.services(ignored)).toEqual([]);
    } finally {
      await world.close();
    }
  });
});
