import { describe, expect, test } from 'vitest';
import type { KeyringRequest, KeyringResponse } from '../../../src/model/index.ts';
import { singleServer } from './single.ts';

const list = { Operation: 'list', Key: '', Forwarded: false, RelayFactor: 0, LocalOnly: false } as const;

describe('while nothing is encrypted', () => {
  const operate = async (more: Partial<KeyringRequest> = {}) =>
    (await singleServer().call('Internal.KeyringOperation', { ...list, ...more })).Responses;

  test('every pool says so', async () => {
    const problem = 'Keyring is empty (encryption not enabled)';
    expect(await operate()).toMatchObject([
      { WAN: true, Messages: { 'self.dc1': problem }, Error: '1/1 nodes reported failure' },
      { WAN: false, Messages: { self: problem }, Error: '1/1 nodes reported failure' },
    ]);
  });

  test('there is none to change', async () => {
    const problem = 'No keyring to modify (encryption not enabled)';
    for (const Operation of ['install', 'use', 'remove'] as const) {
      expect(await operate({ Operation })).toMatchObject([
        { WAN: true, Messages: { 'self.dc1': problem } },
        { WAN: false, Messages: { self: problem } },
      ]);
    }
  });

  test.each([{ Forwarded: true }, { LocalOnly: true }])('only the LAN is asked with %j', async (more) => {
    expect((await operate(more)).map(({ WAN }) => WAN)).toEqual([false]);
  });

  test('a key that is none is refused', async () => {
    const [wan] = await operate({ Operation: 'install', Key: 'not base64' });
    expect(wan).toMatchObject({ Messages: null, Error: 'illegal base64 data at input byte 3' });
  });
});

test('gossip is asked where there is one', async () => {
  const asked: KeyringRequest[] = [];
  const answer: KeyringResponse = {
    WAN: false,
    Datacenter: 'dc1',
    Segment: '',
    Messages: null,
    Keys: { k: 1 },
    PrimaryKeys: { k: 1 },
    NumNodes: 1,
    Error: '',
  };
  const { call } = singleServer({
    keyring: async (request) => {
      asked.push(request);
      return [answer];
    },
  });
  expect((await call('Internal.KeyringOperation', list)).Responses).toEqual([answer]);
  expect(asked).toMatchObject([list]);
  await expect(call('Internal.KeyringOperation', { ...list, Operation: 'use', LocalOnly: true })).rejects.toThrow(
    'LocalOnly can only be used for List operations',
  );
});

describe('other datacenters', () => {
  const response = { WAN: false, Segment: '', Messages: null, Keys: {}, PrimaryKeys: {}, NumNodes: 3, Error: '' };
  const asked: KeyringRequest[] = [];
  const withOthers = () =>
    singleServer({
      cluster: {
        members: () => [],
        callServer: (async (_to: unknown, _method: string, request: KeyringRequest) => {
          asked.push(request);
          if (request.Datacenter === 'dc3') throw new Error('connection refused');
          return { Responses: [{ ...response, Datacenter: request.Datacenter }] };
        }) as never,
        dialSnapshot: () => Promise.reject(new Error('not here')),
        forceLeave: () => Promise.resolve(),
        wan: {
          datacenters: () => ['dc1', 'dc2', 'dc3'],
          serversOf: (datacenter) => [{ name: 's', datacenter, address: '192.0.2.1', port: 8300 }],
          coordinates: () => [],
        },
      },
    });
  const responses = async (more: Partial<KeyringRequest> = {}) =>
    (await withOthers().call('Internal.KeyringOperation', { ...list, ...more })).Responses;

  test('are asked for their LAN pools, and say it when they cannot be reached', async () => {
    const said = await responses();
    expect(said.map(({ Datacenter }) => Datacenter)).toEqual(['dc1', 'dc1', 'dc2', 'dc3']);
    expect(said.at(-1)?.Error).toMatch(/connection refused/);
    expect(asked.every(({ Forwarded }) => Forwarded)).toBe(true);
  });

  test.each([{ Forwarded: true }, { LocalOnly: true }])('are not asked with %j', async (more) => {
    expect((await responses(more)).map(({ Datacenter }) => Datacenter)).toEqual(['dc1']);
  });
});
