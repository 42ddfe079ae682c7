// The payload of user events, against what a real agent sent and took.
import { assert, constantFrom, property, record, string, uuid } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeUserEvent, encodeUserEvent, UserEventError } from '../../../src/codec/index.ts';

const empty = { ID: '', Name: '', Payload: null, NodeFilter: '', ServiceFilter: '', TagFilter: '', Version: 1 };
const sent = {
  ...empty,
  ID: '79d7b3b0-636d-fbbe-b930-467b2a1f7c85',
  Name: 'deploy',
  NodeFilter: 'ts',
  Payload: Buffer.from('the payload'),
};
const sentHex =
  '85a24944d92437396437623362302d363336642d666262652d623933302d343637623261316637633835' +
  'a16ea66465706c6f79a26e66a27473a170c40b746865207061796c6f6164a17601';

test('is written as the real agent writes it', () => {
  expect(encodeUserEvent(sent).toString('hex')).toBe(sentHex);
});

describe('reading', () => {
  test.each<[string, string, object]>([
    ['what the real agent sent', sentHex, sent],
    [
      'texts in the older dialect, which the real agent took',
      '84a24944da002461616161616161612d303030302d313131312d323232322d333333333333333333333333' +
        'a16ea666726f6d7473a170a26869a17601',
      { ...empty, ID: 'aaaaaaaa-0000-1111-2222-333333333333', Name: 'fromts', Payload: Buffer.from('hi') },
    ],
    ['an empty map', '80', { ...empty, Version: 0 }],
    ['nil for a field', '82a16ec0a17601', empty],
    ['fields of later versions', '84a178c3a179cd0101a16ea178a17601', { ...empty, Name: 'x' }],
    ['an empty payload', '82a170c400a17601', empty],
  ])('%s', (_, hex, event) => {
    expect(decodeUserEvent(Buffer.from(hex, 'hex'))).toEqual(event);
  });

  test.each([
    ['nothing', ''],
    ['a list', '90'],
    ['an end in the middle', sentHex.slice(0, 40)],
    ['a map without its last value', '81a16e'],
    ['a list for a field', '81a16e90'],
    ['a number for a text', '81a16e01'],
    ['a text for the version', '81a176a131'],
  ])('%s is refused', (_, hex) => {
    expect(() => decodeUserEvent(Buffer.from(hex, 'hex'))).toThrow(UserEventError);
  });
});

test('what was written is read as it was', () => {
  const filter = string({ unit: 'grapheme', maxLength: 300 });
  assert(
    property(
      record({
        ID: uuid(),
        Name: filter,
        // Lengths around the three forms.
        Payload: constantFrom(1, 31, 32, 255, 256, 65_535, 65_536).map((length) => Buffer.alloc(length, 'x')),
        NodeFilter: filter,
        ServiceFilter: filter,
        TagFilter: filter,
        Version: constantFrom(0, 1, 127),
      }),
      (event) => {
        const { Payload, ...fields } = decodeUserEvent(encodeUserEvent(event));
        expect({ ...event, Payload: null }).toEqual({ ...fields, Payload: null });
        expect(Buffer.compare(Payload!, event.Payload)).toBe(0);
      },
    ),
  );
});
