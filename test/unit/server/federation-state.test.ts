import { beforeEach, describe, expect, test } from 'vitest';
import type { NodeService } from '../../../src/model/index.ts';
import { type Single, singleServer } from './single.ts';

let single: Single;
beforeEach(async () => {
  single = singleServer({ connectEnabled: true });
  await single.server.start();
});

const gateway = (Node: string): Promise<null> =>
  single.call('Catalog.Register', {
    Node,
    Address: '192.0.2.1',
    Service: { Kind: 'mesh-gateway', ID: 'mesh', Service: 'mesh', Port: 443 } as unknown as NodeService,
  });
const stateOf = async (Datacenter: string) =>
  (await single.server.caller.call('FederationState.Get', { Datacenter, TargetDatacenter: 'dc1' })).State;
const own = () => stateOf('dc1');

describe('the state of the own datacenter', () => {
  test('is written by the first leader, also without gateways', async () => {
    expect(await own()).toMatchObject({ Datacenter: 'dc1', MeshGateways: null });
    const { States } = await single.call('FederationState.List', {});
    expect(States).toHaveLength(1);
    expect(States[0]?.PrimaryModifyIndex).toBe(States[0]?.ModifyIndex);
    const gateways = await single.call('FederationState.ListMeshGateways', {});
    expect(gateways.DatacenterNodes).toEqual({});
  });

  test('follows the mesh gateways, and nothing else', async () => {
    const before = (await own())?.ModifyIndex;
    await single.call('Catalog.Register', { Node: 'n', Address: '192.0.2.9' });
    await single.clock.advance(10_000);
    expect((await own())?.ModifyIndex).toBe(before);
    await gateway('g1');
    await gateway('g2');
    await single.clock.advance(10_000);
    const { DatacenterNodes } = await single.call('FederationState.ListMeshGateways', {});
    expect(DatacenterNodes['dc1']?.map(({ Node }) => Node.Node)).toEqual(['g1', 'g2']);
    await single.call('Catalog.Deregister', { Node: 'g1' });
    await single.call('Catalog.Deregister', { Node: 'g2' });
    await single.clock.advance(10_000);
    expect(await own()).toMatchObject({ MeshGateways: null });
  });

  test('is left alone by a server that does not lead any more', async () => {
    const { result: before } = single.store.federationStates.get('dc1');
    const { caller } = single.server;
    const registered = gateway('g1');
    single.server.stop();
    await registered;
    await single.clock.advance(60_000);
    expect(single.store.federationStates.get('dc1').result).toBe(before);
    await expect(caller.call('FederationState.List', { Datacenter: 'dc1' })).rejects.toThrow('has stopped');
  });
});

test('another datacenter can be written and deleted; an unknown one is none', async () => {
  const State = { Datacenter: 'dc2', MeshGateways: null, UpdatedAt: '2026-01-01T00:00:00Z', PrimaryModifyIndex: 7 };
  expect(await single.call('FederationState.Apply', { Op: 'upsert', State })).toBe(true);
  expect(await stateOf('dc2')).toMatchObject(State);
  expect(await single.call('FederationState.Apply', { Op: 'delete', State })).toBe(false);
  expect(await stateOf('dc2')).toBe(null);
});
