import { describe, expect, test } from 'vitest';
import { AntiEntropy, sameValue, scaleFactor } from '../../../src/agent/anti-entropy.ts';
import { checkRegistration, serviceChecks, serviceRecord } from '../../../src/agent/definitions.ts';
import { LocalState } from '../../../src/agent/local-state.ts';
import type {
  CallName,
  CallReply,
  CallRequest,
  HealthCheck,
  NamedCaller,
  NodeService,
} from '../../../src/model/index.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { silentLogger } from '../../helpers/logger.ts';

/** A server's view of one node, enough for anti-entropy; every call can be made to fail. */
class FakeServers implements NamedCaller {
  services = new Map<string, NodeService>();
  checks = new Map<string, HealthCheck>();
  registered = false;
  down = false;
  /** Checks that came without their service: the real servers refuse them. */
  readonly orphans: string[] = [];
  readonly calls: string[] = [];

  async call<M extends CallName>(method: M, request: CallRequest<M>): Promise<CallReply<M>> {
    this.calls.push(method);
    if (this.down) throw new Error('No cluster leader');
    return this.#answer(method, request) as CallReply<M>;
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

function setUp(checkUpdateIntervalMs = 0) {
  const clock = new VirtualClock();
  const random = new SeededRandom(1);
  const servers = new FakeServers();
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
    logger: silentLogger,
    answersWait: true,
    memberCount: () => 1,
  });
  holder.antiEntropy = antiEntropy;
  const addService = (id: string): void => {
    const service = serviceRecord({ id, name: 'web', port: 80 });
    state.setService({ service, token: '', origin: 'api' });
    for (const { check, definition } of serviceChecks('n1', service, [{ ttlMs: 1000 }])) {
      state.setCheck({ check, definition, token: '', origin: 'api' });
    }
  };
  return { clock, servers, state, antiEntropy, addService };
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
