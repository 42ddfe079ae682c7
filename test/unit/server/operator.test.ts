import { beforeEach, describe, expect, test } from 'vitest';
import { autopilotDefaults, CallError } from '../../../src/model/index.ts';
import { type Single, singleServer } from './single.ts';

const address = '127.0.0.1:8300';
const id = '01000000-0000-4000-8000-000000000001';
let single: Single;
beforeEach(async () => {
  single = singleServer({ autopilot: { ...autopilotDefaults, MinQuorum: 3 } });
  await single.server.start();
});

describe('the configuration of a lone server', () => {
  test('names it as the catalog does', async () => {
    expect(await single.call('Operator.RaftGetConfiguration', {})).toEqual({
      Servers: [{ ID: id, Node: 'self', Address: address, Leader: true, ProtocolVersion: '3', Voter: true }],
      Index: 1,
    });
  });

  test.each([
    ['ID', 'id "nobody" was not found in the Raft configuration', 'nobody'],
    ['Address', 'address "192.0.2.1:8300" was not found in the Raft configuration', '192.0.2.1:8300'],
    ['ID', 'need at least one voter in configuration', id],
    ['Address', 'need at least one voter in configuration', address],
  ] as const)('removal by %s is refused: %s', async (by, message, value) => {
    const method = by === 'ID' ? 'Operator.RaftRemovePeerByID' : 'Operator.RaftRemovePeerByAddress';
    await expect(single.call(method, { [by]: value })).rejects.toThrow(new RegExp(`^${message}`));
  });
});

describe("autopilot's settings", () => {
  const read = () => single.call('Operator.AutopilotGetConfiguration', {});
  const write = async (CAS: boolean, ModifyIndex: number) => {
    const Config = { ...autopilotDefaults, CreateIndex: 0, ModifyIndex };
    return single.call('Operator.AutopilotSetConfiguration', { Config, CAS });
  };

  test('are written by the first leader, and not again', async () => {
    const first = await read();
    expect(first).toMatchObject({ MinQuorum: 3, CreateIndex: first.ModifyIndex });
    await single.server.start();
    expect(await read()).toBe(first);
  });

  test('are replaced with a new index and the old creation', async () => {
    const { CreateIndex } = await read();
    expect(await write(false, 0)).toBe(false);
    const after = await read();
    expect(after).toMatchObject({ MinQuorum: 0, CreateIndex });
    expect(after.ModifyIndex).toBeGreaterThan(CreateIndex);
  });

  test('with an index only while it is theirs', async () => {
    const { ModifyIndex } = await read();
    expect(await write(true, ModifyIndex + 1)).toBe(false);
    expect(await write(true, ModifyIndex)).toBe(true);
    expect(await write(true, ModifyIndex)).toBe(false);
  });

  test('cannot be read before there are any', async () => {
    single = singleServer();
    await expect(read()).rejects.toThrow(new CallError('autopilot config not initialized yet'));
  });
});

test('a lone server is well, and tells since when', async () => {
  const health = () => single.call('Operator.ServerHealth', {});
  const before = await health();
  expect(before).toMatchObject({ Healthy: true, FailureTolerance: 0 });
  expect(before.Servers).toMatchObject([
    { ID: id, Name: 'self', Address: address, SerfStatus: 'alive', Version: '1.8.7', Leader: true, Voter: true },
  ]);
  await single.clock.advance(5000);
  expect((await health()).Servers[0]?.StableSince).toBe(before.Servers[0]?.StableSince);
});
