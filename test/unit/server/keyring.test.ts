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
