import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AntiEntropy, sameValue, scaleFactor } from '../../../src/agent/anti-entropy.ts';
import { checkRegistration, serviceChecks, serviceRecord } from '../../../src/agent/definitions.ts';
import { LocalState } from '../../../src/agent/local-state.ts';
import {
  CallError,
  type CallName,
  type CallReply,
  type CallRequest,
  type HealthCheck,
  type NamedCaller,
  type NodeService,
} from '../../../src/model/index.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { recordingLogger } from '../../helpers/logger.ts';

/** A server's view of one node, enough for anti-entropy; every call can be made to fail. */
class FakeServers implements NamedCaller {
  services = new Map<string, NodeService>();
  checks = new Map<string, HealthCheck>();
  registered = false;
  down = false;
  /** Checks that came without their service: the real servers refuse them. */
  readonly orphans: string[] = [];
  readonly calls: string[] = [];
  readonly requests: unknown[] = [];
  /** What a call is refused with; undefined = it is served. */
  refuse: (method: CallName, request: Readonly<Record<string, unknown>>) => string | undefined = () => undefined;
  /** Comes before an answer, and after what the call does. */
  beforeAnswer: (method: CallName) => Promise<void> = async () => undefined;

  async call<M extends CallName>(method: M, request: CallRequest<M>): Promise<CallReply<M>> {
    this.calls.push(method);
    this.requests.push(request);
    if (this.down) throw new CallError('No cluster leader');
    const refusal = this.refuse(method, request as Readonly<Record<string, unknown>>);
    if (refusal !== undefined) throw new CallError(refusal);
    const answer = this.#answer(method, request) as CallReply<M>;
    await this.beforeAnswer(method);
    return answer;
  }

  #answer(method: CallName, request: unknown): unknown {
    const meta = { Index: 1, LastContact: 0, KnownLeader: true };
    switch (method) {
      case 'Catalog.Register': {
        const { Service, Checks } = request as CallRequest<'Catalog.Register'>;
        this.registered = true;
        if (Service) this.services.set(Service.ID, Service as NodeService);
        for (const check of Checks ?? []) {
          if (check.ServiceID !== '' && !this.services.has(check.ServiceID)) this.orphans.push(check.CheckID);
          this.checks.set(check.CheckID, check as HealthCheck);
        }
        return null;
      }
      case 'Catalog.Deregister': {
        const { ServiceID, CheckID } = request as CallRequest<'Catalog.Deregister'>;
        if (ServiceID) {
          this.services.delete(ServiceID);
          for (const [id, check] of this.checks) if (check.ServiceID === ServiceID) this.checks.delete(id);
        } else if (CheckID) this.checks.delete(CheckID);
        return null;
      }
      case 'Catalog.NodeServiceList':
        return {
          ...meta,
          NodeServices: this.registered
            ? { Node: { ...identity, CreateIndex: 1, ModifyIndex: 1 }, Services: [...this.services.values()] }
            : { Node: null, Services: null },
        };
      case 'Health.NodeChecks':
        return { ...meta, HealthChecks: [...this.checks.values()] };
      default:
        throw new Error(`unexpected ${method}`);
    }
  }
}

const identity = {
  ID: 'id',
  Node: 'n1',
  Address: '10.0.0.1',
  Datacenter: 'dc1',
  TaggedAddresses: { lan: '10.0.0.1' },
  Meta: {},
};

function setUp(checkUpdateIntervalMs = 0, parts: Partial<ConstructorParameters<typeof AntiEntropy>[0]> = {}) {
  const clock = new VirtualClock();
  const random = new SeededRandom(1);
  const servers = new FakeServers();
  const { logger, lines } = recordingLogger();
  const holder: { antiEntropy?: AntiEntropy } = {};
  const state = new LocalState({
    clock,
    random,
    options: { checkUpdateIntervalMs, discardCheckOutput: false },
    onDirty: () => holder.antiEntropy?.trigger(),
  });
  const antiEntropy = new AntiEntropy({
    state,
    caller: servers,
    node: () => identity,
    clock,
    random,
    logger,
    memberCount: () => 1,
    ...parts,
  });
  holder.antiEntropy = antiEntropy;
  const addService = (id: string, port = 80, token = ''): void => {
    const service = serviceRecord({ id, name: 'web', port });
    state.setService({ service, token, origin: 'api' });
    for (const { check, definition } of serviceChecks('n1', service, [{ ttlMs: 1000 }])) {
      state.setCheck({ check, definition, token, origin: 'api' });
    }
  };
  return { clock, servers, state, antiEntropy, addService, lines };
}

describe('anti-entropy', () => {
  test('carries a registration and its checks in one call', async () => {
    const { clock, servers, antiEntropy, addService } = setUp();
    antiEntropy.start();
    await clock.advance(1);
    servers.calls.length = 0;
    antiEntropy.pause();
    addService('web-1');
    antiEntropy.resume();
    await antiEntropy.syncChanges();
    expect([...servers.services.keys()]).toEqual(['web-1']);
    expect([...servers.checks.keys()]).toEqual(['service:web-1']);
    expect(servers.calls).toEqual(['Catalog.Register']);
  });

  test('a full sync removes what the agent does not know and leaves serfHealth and consul alone', async () => {
    const { clock, servers, antiEntropy, addService } = setUp();
    servers.registered = true;
    servers.services.set('ghost', serviceRecord({ id: 'ghost', name: 'ghost' }));
    servers.services.set('consul', serviceRecord({ id: 'consul', name: 'consul' }));
    servers.checks.set('serfHealth', checkRegistration('n1', undefined, { id: 'serfHealth', name: 'Serf' }).check);
    servers.checks.set('old', checkRegistration('n1', undefined, { id: 'old', name: 'old' }).check);
    addService('web-1');
    antiEntropy.start();
    await clock.advance(1);
    expect([...servers.services.keys()].sort()).toEqual(['consul', 'web-1']);
    expect([...servers.checks.keys()].sort()).toEqual(['serfHealth', 'service:web-1']);
  });

  test('a full sync repairs what a server lost', async () => {
    const { clock, servers, antiEntropy, addService } = setUp();
    addService('web-1');
    antiEntropy.start();
    await clock.advance(1);
    servers.services.clear();
    servers.checks.clear();
    await clock.advance(130_000);
    expect([...servers.services.keys()]).toEqual(['web-1']);
    expect([...servers.checks.keys()]).toEqual(['service:web-1']);
  });

  test('nothing in sync is sent again', async () => {
    const { clock, servers, antiEntropy, addService } = setUp();
    addService('web-1');
    antiEntropy.start();
    await clock.advance(1);
    servers.calls.length = 0;
    await clock.advance(600_000);
    expect(servers.calls).toContain('Catalog.NodeServiceList');
    expect(servers.calls).not.toContain('Catalog.Register');
  });

  test('an outage delays and never loses, removals included', async () => {
    const { clock, servers, state, antiEntropy, addService } = setUp();
    addService('web-1');
    antiEntropy.start();
    await clock.advance(1);
    servers.down = true;
    addService('web-2');
    state.removeService('web-1');
    await clock.advance(60_000);
    expect([...servers.services.keys()]).toEqual(['web-1']);
    servers.down = false;
    await clock.advance(60_000);
    expect([...servers.services.keys()]).toEqual(['web-2']);
  });

  test('a new status goes at once, a new output alone waits for half to one and a half check_update_interval', async () => {
    const { clock, servers, state, antiEntropy, addService } = setUp(300_000);
    addService('web-1');
    antiEntropy.start();
    await clock.advance(1);
    state.updateCheck('service:web-1', 'passing', 'first');
    await clock.advance(1);
    expect(servers.checks.get('service:web-1')).toMatchObject({ Status: 'passing', Output: 'first' });
    state.updateCheck('service:web-1', 'passing', 'second');
    expect(state.checkRecords.get('service:web-1')!.Output).toBe('second');
    await clock.advance(149_000);
    expect(servers.checks.get('service:web-1')!.Output).toBe('first');
    await clock.advance(302_000);
    expect(servers.checks.get('service:web-1')!.Output).toBe('second');
  });

  test('a change during a sync is sent by the round that follows', async () => {
    const { servers, antiEntropy, addService, state } = setUp();
    antiEntropy.start();
    addService('web-1');
    const first = antiEntropy.syncChanges();
    addService('web-2');
    state.updateCheck('service:web-1', 'passing', '');
    await Promise.all([first, antiEntropy.syncChanges()]);
    expect([...servers.services.keys()].sort()).toEqual(['web-1', 'web-2']);
    expect(servers.checks.get('service:web-1')!.Status).toBe('passing');
  });

  test('a check never travels before its service, whenever that was registered', async () => {
    // Calls until the registration comes: between them a round sends one thing after the other.
    for (let turns = 0; turns < 20; turns++) {
      const { clock, servers, antiEntropy, addService, state } = setUp();
      antiEntropy.start();
      addService('web-1');
      addService('web-2');
      await clock.advance(1);
      state.updateCheck('service:web-1', 'passing', '');
      addService('web-3');
      const sent = antiEntropy.syncChanges();
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      addService('late');
      await Promise.all([sent, antiEntropy.syncChanges()]);
      expect([...servers.checks.keys()].sort()).toEqual([
        'service:late',
        'service:web-1',
        'service:web-2',
        'service:web-3',
      ]);
      expect(servers.orphans).toEqual([]);
    }
  });

  test('nothing is sent before the first full sync has asked what is there', async () => {
    const { clock, servers, antiEntropy, addService } = setUp();
    addService('web-1');
    await antiEntropy.syncChanges();
    expect(servers.calls).toEqual([]);
    antiEntropy.start();
    await clock.advance(1);
    expect(servers.calls.slice(0, 2)).toEqual(['Catalog.NodeServiceList', 'Health.NodeChecks']);
  });

  test('the node goes first and with the token of the agent, services with theirs or that of users', async () => {
    const acl = { user: () => 'user', agent: () => 'agent', accessorOf: async () => '' };
    const { clock, servers, state, antiEntropy, addService } = setUp(0, { acl });
    addService('own', 80, 'own');
    addService('plain');
    antiEntropy.start();
    await clock.advance(1);
    state.removeService('own');
    await clock.advance(1);
    const shown = (servers.requests as Readonly<Record<string, unknown>>[]).map(
      ({ Token, Service, ServiceID, SkipNodeUpdate }) => [
        Token,
        (Service as NodeService | undefined)?.ID ?? ServiceID,
        SkipNodeUpdate,
      ],
    );
    expect(shown).toEqual([
      ['agent', undefined, undefined],
      ['agent', undefined, undefined],
      ['agent', undefined, false],
      ['own', 'own', true],
      ['user', 'plain', true],
      ['agent', 'own', undefined],
    ]);
  });

  test('a change there and back while servers are asked is not taken for what they have', async () => {
    const { clock, servers, antiEntropy, addService } = setUp();
    addService('web-1', 80);
    antiEntropy.start();
    await clock.advance(1);
    let release = (): void => undefined;
    servers.beforeAnswer = (method) =>
      method === 'Catalog.NodeServiceList' ? new Promise((resolve) => (release = resolve)) : Promise.resolve();
    antiEntropy.serversChanged();
    await clock.advance(3_000);
    servers.calls.length = 0;
    // The answer that is on its way says 80.
    addService('web-1', 81);
    await clock.advance(1_000);
    expect(servers.calls).toEqual([]);
    addService('web-1', 80);
    release();
    await clock.advance(1_000);
    expect(servers.services.get('web-1')).toMatchObject({ Port: 80 });
    addService('web-1', 82);
    await clock.advance(1);
    expect(servers.services.get('web-1')).toMatchObject({ Port: 82 });
  });

  test('a change while the one before it is on its way follows at once', async () => {
    const { clock, servers, state, antiEntropy, addService } = setUp();
    antiEntropy.start();
    await clock.advance(1);
    let release = (): void => undefined;
    servers.beforeAnswer = () => new Promise((resolve) => (release = resolve));
    addService('web-1', 80);
    await clock.advance(1);
    addService('web-1', 81);
    state.updateCheck('service:web-1', 'passing', '');
    servers.beforeAnswer = () => Promise.resolve();
    release();
    await clock.advance(1);
    expect(servers.services.get('web-1')).toMatchObject({ Port: 81 });
    expect(servers.checks.get('service:web-1')).toMatchObject({ Status: 'passing' });
  });

  test('what the servers refuse holds nothing else up, is told once and tried with each full sync', async () => {
    const { clock, servers, antiEntropy, addService, lines } = setUp();
    servers.refuse = (_, { Service }) =>
      (Service as NodeService | undefined)?.ID === 'bad' ? 'rpc error making call: Invalid service address' : undefined;
    addService('bad');
    addService('good');
    antiEntropy.start();
    await clock.advance(1);
    expect([...servers.services.keys()]).toEqual(['good']);
    const tries = (): number =>
      (servers.requests as { readonly Service?: NodeService }[]).filter(({ Service }) => Service?.ID === 'bad').length;
    expect(tries()).toBe(1);
    addService('other');
    await clock.advance(1);
    expect(tries()).toBe(1);
    await clock.advance(600_000);
    expect(tries()).toBeGreaterThan(4);
    // The same by way of a server that does not lead.
    servers.refuse = (_, { Service }) =>
      (Service as NodeService | undefined)?.ID === 'bad'
        ? 'rpc error making call: rpc error making call: Invalid service address'
        : undefined;
    await clock.advance(130_000);
    expect(lines.filter((line) => line.startsWith('WARN'))).toEqual([
      'WARN Service registration failed. service=bad error=CallError: rpc error making call: Invalid service address',
    ]);
    servers.refuse = () => undefined;
    await clock.advance(130_000);
    expect([...servers.services.keys()].toSorted()).toEqual(['bad', 'good', 'other']);
    expect(lines).toContain('INFO Synced service service=bad');
  });

  test('what rights do not allow is told once with the accessor, until it works', async () => {
    const acl = { user: () => '', agent: () => '', accessorOf: async () => 'the accessor' };
    const { clock, servers, antiEntropy, addService, lines } = setUp(0, { acl });
    servers.refuse = (method) =>
      method === 'Catalog.Register' ? 'rpc error making call: Permission denied' : undefined;
    addService('web-1');
    antiEntropy.start();
    await clock.advance(400_000);
    expect(lines.filter((line) => line.startsWith('WARN'))).toEqual([
      'WARN Node info update blocked by ACLs node=n1 accessorID=the accessor',
      'WARN Service registration blocked by ACLs service=web-1 accessorID=the accessor',
    ]);
    servers.refuse = () => undefined;
    await clock.advance(130_000);
    expect([...servers.services.keys()]).toEqual(['web-1']);
    servers.refuse = () => 'ACL not found';
    addService('web-1');
    await clock.advance(1);
    expect(lines.at(-1)).toBe('WARN Service registration blocked by ACLs service=web-1 accessorID=the accessor');
  });

  test("while another node has this one's name nothing is registered", async () => {
    const { clock, servers, antiEntropy, addService } = setUp();
    servers.refuse = (method) =>
      method === 'Catalog.Register' ? 'failed inserting node: Error while renaming Node ID: …' : undefined;
    addService('web-1');
    antiEntropy.start();
    await clock.advance(60_000);
    const registrations = servers.requests.filter((request) => Object.hasOwn(request as object, 'NodeMeta'));
    expect(registrations.length).toBeGreaterThan(2);
    expect(registrations.every((request) => !Object.hasOwn(request as object, 'Service'))).toBe(true);
  });

  test('a check whose service the servers have lost brings it back', async () => {
    const { clock, servers, state, antiEntropy, addService } = setUp();
    addService('web-1');
    antiEntropy.start();
    await clock.advance(1);
    servers.services.clear();
    servers.refuse = (method, { Service }) =>
      method === 'Catalog.Register' && Service === undefined && !servers.services.has('web-1')
        ? 'failed inserting check: Missing service registration on node "n1"'
        : undefined;
    state.updateCheck('service:web-1', 'passing', 'fine');
    await clock.advance(1);
    expect([...servers.services.keys()]).toEqual(['web-1']);
    expect(servers.checks.get('service:web-1')).toMatchObject({ Status: 'passing' });
  });

  test('failures are followed by a full sync soon, then less soon; a server that comes back brings it on', async () => {
    const { clock, servers, antiEntropy, addService } = setUp();
    antiEntropy.start();
    await clock.advance(1);
    servers.down = true;
    const at = async (untilMs: number): Promise<readonly number[]> => {
      const times: number[] = [];
      const startMs = clock.monotonicMs();
      while (clock.monotonicMs() - startMs < untilMs) {
        servers.calls.length = 0;
        await clock.advance(100);
        if (servers.calls.includes('Health.NodeChecks')) times.push(clock.monotonicMs() - startMs);
      }
      return times;
    };
    addService('web-1');
    const times = await at(120_000);
    const pauses = times.map((time, index) => time - (times[index - 1] ?? 0));
    expect(pauses[0]).toBeGreaterThanOrEqual(3_000);
    expect(pauses[0]).toBeLessThanOrEqual(6_100);
    for (const pause of pauses.slice(3)) {
      expect(pause).toBeGreaterThanOrEqual(15_000);
      expect(pause).toBeLessThanOrEqual(30_200);
    }
    servers.down = false;
    antiEntropy.serversChanged();
    expect((await at(3_100)).length).toBe(1);
    expect([...servers.services.keys()]).toEqual(['web-1']);
  });

  test('who registers waits until servers have it, and not for servers that are silent or gone', async () => {
    const { clock, servers, antiEntropy, addService } = setUp();
    antiEntropy.start();
    await clock.advance(1);
    const settled = (id: string) => {
      const seen = { done: false };
      addService(id);
      void antiEntropy.settled().then(() => (seen.done = true));
      return seen;
    };
    let release = (): void => undefined;
    servers.beforeAnswer = () => new Promise((resolve) => (release = resolve));
    const heard = settled('web-1');
    await clock.advance(1_000);
    expect(heard.done).toBe(false);
    release();
    await clock.advance(0);
    expect(heard.done).toBe(true);

    const unheard = settled('web-2');
    await clock.advance(1_999);
    expect(unheard.done).toBe(false);
    await clock.advance(1);
    expect(unheard.done).toBe(true);

    servers.down = true;
    release();
    servers.beforeAnswer = async () => undefined;
    settled('web-3');
    await clock.advance(0);
    servers.down = false;
    servers.beforeAnswer = () => new Promise(() => undefined);
    const gone = settled('web-4');
    await clock.advance(0);
    expect(gone.done).toBe(true);
  });

  test('after the stop nothing is sent or told', async () => {
    const { clock, servers, antiEntropy, addService, lines } = setUp();
    addService('web-1');
    antiEntropy.start();
    servers.down = true;
    antiEntropy.stop();
    await clock.advance(200_000);
    addService('web-2');
    await clock.advance(200_000);
    expect([servers.calls.filter((call) => call === 'Catalog.Register'), lines]).toEqual([[], []]);
  });

  test('whatever changes on both sides and whatever is lost on the way, the servers end up with what is here', async () => {
    const id = fc.constantFrom('a', 'b', 'c');
    const step = fc.oneof(
      fc.record({ act: fc.constant('set' as const), id, port: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ act: fc.constant('remove' as const), id }),
      fc.record({ act: fc.constant('status' as const), id, status: fc.constantFrom('passing', 'critical') }),
      fc.record({ act: fc.constant('forge' as const), id, port: fc.integer({ min: 4, max: 6 }) }),
      fc.record({ act: fc.constant('lose' as const), id }),
      fc.record({ act: fc.constant('servers changed' as const) }),
      fc.record({ act: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 5_000 }) }),
    );
    const fate = fc.constantFrom('served', 'served', 'slow', 'refused', 'lost');
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.array(fate, { maxLength: 40 }), async (steps, fates) => {
        const { clock, servers, state, antiEntropy, addService } = setUp();
        const left = [...fates];
        servers.refuse = () => (left[0] === 'refused' ? (left.shift(), 'No cluster leader') : undefined);
        servers.beforeAnswer = async () => {
          const next = left.shift();
          if (next === 'slow') await new Promise<void>((resolve) => clock.after(2_000, resolve));
          // It was done, and nobody hears of it.
          if (next === 'lost') throw new Error('rpc error making call: EOF');
        };
        antiEntropy.start();
        for (const each of steps) {
          if (each.act === 'set') addService(each.id, each.port);
          else if (each.act === 'remove') state.removeService(each.id);
          else if (each.act === 'status') state.updateCheck(`service:${each.id}`, each.status, '');
          else if (each.act === 'forge') {
            servers.services.set(each.id, serviceRecord({ id: each.id, name: 'web', port: each.port }));
          } else if (each.act === 'lose') servers.services.delete(each.id);
          else if (each.act === 'servers changed') antiEntropy.serversChanged();
          else await clock.advance(each.ms);
        }
        await clock.advance(600_000);
        const view = (services: Iterable<NodeService>, checks: Iterable<HealthCheck>): unknown => [
          [...services].map(({ ID, Port }) => `${ID} ${Port}`).toSorted(),
          [...checks].map(({ CheckID, Status }) => `${CheckID} ${Status}`).toSorted(),
        ];
        expect(view(servers.services.values(), servers.checks.values())).toEqual(
          view(state.serviceRecords.values(), state.checkRecords.values()),
        );
        antiEntropy.stop();
      }),
      { numRuns: 200 },
    );
  });

  test.each([
    [1, 1],
    [128, 1],
    [129, 2],
    [256, 2],
    [512, 3],
    [8192, 7],
  ])('with %i members intervals are stretched by %i', (members, factor) => {
    expect(scaleFactor(members)).toBe(factor);
  });

  test('missing, null and empty are the same; order matters', () => {
    expect(sameValue({ a: null, b: [] }, {})).toBe(true);
    expect(sameValue({ a: ['x', 'y'] }, { a: ['y', 'x'] })).toBe(false);
    expect(sameValue({ a: { Port: 1 } }, { a: { Port: 2 } })).toBe(false);
  });
});
