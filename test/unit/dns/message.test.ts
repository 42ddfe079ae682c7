import packet from 'dns-packet';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readMessage, receive, recordType, type ResourceRecord } from '../../../src/dns/message.ts';
import { messageSize, writeMessage } from '../../../src/dns/message-writer.ts';
import { DnsFormatError, parseName } from '../../../src/dns/name.ts';
import { addressRecord, cnameRecord, metaRecords, ptrRecord, soaRecord, srvRecord } from '../../../src/dns/records.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';

const header = (flags: number, counts: readonly [number, number, number, number]): Buffer => {
  const bytes = Buffer.alloc(12);
  [0xbeef, flags, ...counts].forEach((value, i) => bytes.writeUInt16BE(value, 2 * i));
  return bytes;
};
const question = Buffer.concat([Buffer.from(parseName('n.consul').wire), Buffer.from('00010001', 'hex')]);

describe('what a packet is', () => {
  test.each([
    ['11 bytes', Buffer.alloc(11)],
    ['a response', Buffer.concat([header(0x8000, [1, 0, 0, 0]), question])],
  ])('%s is ignored', (_, bytes) => {
    expect(receive(bytes).kind).toBe('ignore');
  });

  test.each([
    ['no question', Buffer.concat([header(0x0100, [0, 0, 0, 0]), question]), 0x8101],
    ['two questions', Buffer.concat([header(0x0100, [2, 0, 0, 0]), question, question]), 0x8101],
    ['two answers', Buffer.concat([header(0x0100, [1, 2, 0, 0]), question]), 0x8101],
    ['two authority records', Buffer.concat([header(0x0100, [1, 0, 2, 0]), question]), 0x8101],
    ['three additional records', Buffer.concat([header(0x0100, [1, 0, 0, 3]), question]), 0x8101],
    ['a cut question', Buffer.concat([header(0x0000, [1, 0, 0, 0]), question.subarray(0, -1)]), 0x8001],
    ['a cut record', Buffer.concat([header(0x0000, [1, 0, 0, 1]), question, Buffer.of(0, 0, 41)]), 0x8001],
    ['a short subnet option', withOption('000800020001'), 0x8001],
    ['opcode UPDATE', Buffer.concat([header(0x2900, [1, 0, 0, 0]), question]), 0xa904],
  ])('%s gets a bare header', (_, bytes, flags) => {
    const received = receive(bytes);
    if (received.kind !== 'reject') throw new Error(`it is ${received.kind}`);
    expect(received.reply).toHaveLength(12);
    expect(received.reply.readUInt16BE(0)).toBe(bytes.readUInt16BE(0));
    expect(received.reply.readUInt16BE(2)).toBe(flags);
    expect(received.reply.subarray(4)).toEqual(Buffer.alloc(8));
  });

  test('counts may promise records that are not there, and bytes behind the message are left out', () => {
    const message = Buffer.concat([header(0, [1, 0, 0, 0]), question]);
    const promising = receive(Buffer.concat([header(0, [1, 1, 1, 2]), question]));
    const longer = receive(Buffer.concat([message, Buffer.from('junk')]));
    expect(promising.kind).toBe('query');
    if (longer.kind !== 'query') throw new Error(`it is ${longer.kind}`);
    expect(longer.query.packet).toEqual(message);
  });

  test('the client subnet is read and cut to its prefix', () => {
    const received = receive(withOption('0008000700011500c63364'));
    if (received.kind !== 'query') throw new Error(`it is ${received.kind}`);
    expect(received.query.edns).toEqual({
      udpSize: 1232,
      clientSubnet: { family: 1, sourcePrefix: 21, address: Uint8Array.of(0xc6, 0x33, 0x60) },
    });
  });
});

function withOption(hex: string): Buffer {
  const option = Buffer.from(hex, 'hex');
  const opt = Buffer.from('00002904d000000000', 'hex');
  const length = Buffer.of(0, option.length);
  return Buffer.concat([header(0, [1, 0, 0, 1]), question, opt, length, option]);
}

const soa = { refresh: 1, retry: 2, expire: 3, minTtl: 4 };
const owner = parseName('Web.service.consul');
const target = parseName('n1.node.dc1.consul');
const records: ResourceRecord[] = [
  addressRecord(null, 5, Uint8Array.of(10, 0, 0, 1)),
  srvRecord(5, 1, 80, target),
  addressRecord(target, 5, Uint8Array.of(10, 0, 0, 2)),
  cnameRecord(owner, 5, target),
  ptrRecord(null, target),
  soaRecord('consul.', soa, 1_700_000_000),
  ...metaRecords(target, 5, { a: 'b' }),
];

describe('writing', () => {
  const write = (compress: boolean): Buffer =>
    writeMessage(
      7,
      0x8400,
      { name: owner, type: recordType.ANY, class: 1 },
      { answer: records, authority: [], additional: [] },
      { compress },
    );

  test.each([true, false])('an independent decoder reads what was written (compressed: %s)', (compress) => {
    const decoded = packet.decode(write(compress));
    expect(decoded.questions).toEqual([{ name: 'Web.service.consul', type: 'ANY', class: 'IN' }]);
    expect(decoded.answers!.map((answer) => `${answer.name} ${answer.type}`)).toEqual([
      'Web.service.consul A',
      'Web.service.consul SRV',
      'n1.node.dc1.consul A',
      'Web.service.consul CNAME',
      'Web.service.consul PTR',
      'consul SOA',
      'n1.node.dc1.consul TXT',
    ]);
    expect(decoded.answers![1]).toMatchObject({
      data: { priority: 1, weight: 1, port: 80, target: 'n1.node.dc1.consul' },
    });
    expect(decoded.answers![5]).toMatchObject({ data: { mname: 'ns.consul', rname: 'hostmaster.consul', minimum: 4 } });
  });

  test('names are compressed, but SRV targets only serve later names', () => {
    const message = write(true);
    // Header, question, A, SRV with its full target.
    const srvEnd = 12 + 24 + 16 + (12 + 6 + 20);
    expect(message.subarray(srvEnd - 20, srvEnd)).toEqual(Buffer.from(target.wire));
    expect(message.readUInt16BE(srvEnd)).toBe(0xc000 | (srvEnd - 20));
    expect(message.length).toBeLessThan(write(false).length);
  });

  test('the size is known without writing, and not beyond the limit', () => {
    const asked = { name: owner, type: recordType.ANY, class: 1 };
    const sections = { answer: records, authority: [], additional: [] };
    for (const compress of [true, false]) {
      const { length } = write(compress);
      expect(messageSize(asked, sections, compress, length)).toBe(length);
      expect(messageSize(asked, sections, compress, length - 1)).toBe(Infinity);
    }
  });

  test('reading what was written gives the records back', () => {
    const name = fc
      .array(fc.stringMatching(/^[a-zA-Z0-9-]{1,12}$/), { minLength: 1, maxLength: 5 })
      .map((labels) => parseName(labels.join('.')));
    const record: fc.Arbitrary<ResourceRecord> = fc.oneof(
      fc.tuple(name, fc.uint8Array({ minLength: 4, maxLength: 4 })).map(([n, a]) => addressRecord(n, 1, a)),
      fc.tuple(name, name).map(([n, t]) => cnameRecord(n, 2, t)),
      fc.tuple(name, name, fc.nat(65_535)).map(([n, t, port]) => ({ ...srvRecord(3, 1, port, t), owner: n })),
      fc.tuple(name, fc.uint8Array({ maxLength: 40 })).map(([n, head]) => ({
        ...addressRecord(n, 4, head),
        type: 65_280,
      })),
    );
    const section = fc.array(record, { maxLength: 20 });
    fc.assert(
      fc.property(name, section, section, section, fc.boolean(), (asked, answer, authority, additional, compress) => {
        const sections = { answer, authority, additional };
        const message = readMessage(
          writeMessage(9, 0x8180, { name: asked, type: 1, class: 1 }, sections, { compress }),
        );
        expect(plain(message.question)).toEqual(plain({ name: asked, type: 1, class: 1 }));
        expect(plain([message.answer, message.authority, message.additional])).toEqual(
          plain([answer, authority, additional]),
        );
      }),
      { numRuns: 300 },
    );
  });

  test('reading damaged messages fails in one way only', () => {
    const message = write(true);
    const random = new SeededRandom(3);
    for (let i = 0; i < 20_000; i++) {
      const damaged = Buffer.from(message.subarray(0, 1 + random.integer(message.length)));
      for (let changes = random.integer(4); changes > 0; changes--) {
        damaged[random.integer(damaged.length)] = random.integer(256);
      }
      try {
        readMessage(damaged);
      } catch (error) {
        expect(error).toBeInstanceOf(DnsFormatError);
      }
    }
  });

  test('a message that does not fit 65535 bytes is refused', () => {
    const answer = Array.from({ length: 5000 }, () => addressRecord(null, 0, Uint8Array.of(1, 2, 3, 4)));
    const asked = { name: owner, type: 1, class: 1 };
    expect(() => writeMessage(1, 0, asked, { answer, authority: [], additional: [] }, { compress: true })).toThrow(
      'longer than 65535',
    );
  });
});

/** Byte arrays as hex, so that Buffers and Uint8Arrays compare by content. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, v: unknown) =>
      v instanceof Uint8Array
        ? Buffer.from(v).toString('hex')
        : isBufferJson(v)
          ? Buffer.from(v.data).toString('hex')
          : v,
    ),
  );
}

function isBufferJson(value: unknown): value is { data: number[] } {
  return typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer';
}

describe('node metadata', () => {
  test.each([
    ['plain', 'value', 'plain=value'],
    ['k=v', 'a=b', 'k`=v=a=b'],
    ['`tick', 'x`y', '``tick=x``y'],
    ['  lead', 'v', '` ` lead=v'],
    ['trail ', 'v', 'trail` =v'],
    ['a b', '', 'a b='],
    ['RFC1035-raw', 'just `text', 'just `text'],
  ])('%j = %j is written %j', (key, value, text) => {
    const [record] = metaRecords(null, 0, { [key]: value });
    expect(Buffer.from(record!.head).toString('latin1')).toBe(String.fromCharCode(text.length) + text);
  });

  test('a string of 255 bytes is the longest', () => {
    expect(metaRecords(null, 0, { k: 'x'.repeat(253) })).toHaveLength(1);
    expect(() => metaRecords(null, 0, { k: 'x'.repeat(254) })).toThrow('255 bytes');
  });
});
