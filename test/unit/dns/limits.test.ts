import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type LimitedQuestion, limitSections, type MutableSections, type Transport } from '../../../src/dns/limits.ts';
import { recordType } from '../../../src/dns/message.ts';
import { messageSize } from '../../../src/dns/message-writer.ts';
import { parseName } from '../../../src/dns/name.ts';
import { addressRecord, cnameRecord, metaRecords, srvRecord } from '../../../src/dns/records.ts';

const plain = { udpAnswerLimit: 3, disableCompression: false };
const question = (type: number, udpSize?: number): LimitedQuestion => ({
  name: parseName('big.service.consul'),
  type,
  class: 1,
  edns: udpSize === undefined ? null : { udpSize, clientSubnet: null },
});
const addresses = (count: number): MutableSections => ({
  answer: Array.from({ length: count }, (_, i) => addressRecord(null, 0, Uint8Array.of(10, 0, i >> 8, i & 0xff))),
  authority: [],
  additional: [],
});
const services = (count: number, meta = false): MutableSections => {
  const sections: MutableSections = { answer: [], authority: [], additional: [] };
  for (let i = 0; i < count; i++) {
    const target = parseName(`a-long-name-of-a-node-${i}.node.dc1.consul`);
    sections.answer.push(srvRecord(0, 1, i, target));
    sections.additional.push(addressRecord(target, 0, Uint8Array.of(10, 0, i >> 8, i & 0xff)));
    if (meta) sections.additional.push(...metaRecords(target, 0, { text: 'x'.repeat(200) }));
  }
  return sections;
};

describe('limits', () => {
  test.each<[string, Transport, number | undefined, number, number]>([
    ['UDP without EDNS', 'udp', undefined, 3, 3],
    ['EDNS of 512 bytes counts as none', 'udp', 512, 3, 3],
    ['at most 8, whatever is configured', 'udp', undefined, 100, 8],
    ['a limit of 0 leaves nothing', 'udp', undefined, 0, 0],
    ['EDNS of 513 bytes: by size', 'udp', 513, 3, 29],
    ['EDNS of 4096 bytes', 'udp', 4096, 3, 253],
    ['TCP', 'tcp', undefined, 3, 4000],
  ])('addresses, %s', (_, transport, udpSize, udpAnswerLimit, kept) => {
    const sections = addresses(4000);
    const trimmed = limitSections(transport, question(recordType.A, udpSize), sections, { ...plain, udpAnswerLimit });
    expect(sections.answer).toHaveLength(kept);
    expect(trimmed).toBe(kept < 4000);
  });

  test('TCP carries at most 4096 records, 1024 SRV records, and 65523 bytes', () => {
    const many = addresses(5000);
    expect(limitSections('tcp', question(recordType.A), many, plain)).toBe(true);
    // 16 bytes a record: the size limit is the narrower one.
    expect(many.answer).toHaveLength(Math.floor((65_523 - 36) / 16));
    const srv = services(1100);
    srv.additional = [];
    expect(limitSections('tcp', question(recordType.SRV), srv, plain)).toBe(true);
    expect(srv.answer.length).toBeLessThanOrEqual(1024);
    expect(messageSize(question(recordType.SRV), srv, true, 65_535)).toBeLessThanOrEqual(65_523);
  });

  test('one record stays, even when it is too long', () => {
    const sections = services(4);
    const wide = parseName(Array.from({ length: 4 }, () => 'w'.repeat(60)).join('.'));
    sections.answer = sections.answer.map(() => srvRecord(0, 1, 1, wide));
    sections.additional = [addressRecord(wide, 0, Uint8Array.of(1, 1, 1, 1))];
    expect(limitSections('udp', question(recordType.SRV), sections, plain)).toBe(true);
    expect(sections.answer).toHaveLength(1);
  });

  test('what is cut takes metadata and second addresses out of ADDITIONAL, CNAMEs are followed', () => {
    const sections = services(4, true);
    const [first] = sections.answer;
    const target = first!.names[0]!;
    const other = parseName('db.example.test');
    sections.additional = [
      cnameRecord(target, 0, other),
      addressRecord(other, 0, Uint8Array.of(1, 1, 1, 1)),
      addressRecord(other, 0, Uint8Array.of(2, 2, 2, 2)),
      ...metaRecords(target, 0, { a: 'b' }),
    ];
    const expected = sections.additional.slice(0, 2);
    expect(limitSections('udp', question(recordType.SRV), sections, { ...plain, udpAnswerLimit: 1 })).toBe(true);
    expect(sections.answer).toEqual([first]);
    expect(sections.additional).toEqual(expected);
  });

  test('a CNAME circle in ADDITIONAL ends', () => {
    const sections = services(2);
    const target = sections.answer[0]!.names[0]!;
    sections.additional = [cnameRecord(target, 0, target)];
    limitSections('udp', question(recordType.SRV), sections, { ...plain, udpAnswerLimit: 1 });
    expect(sections.additional).toHaveLength(1);
  });

  test('what fits is left alone; what is left fits', () => {
    fc.assert(
      fc.property(
        fc.nat(60),
        fc.boolean(),
        fc.option(fc.nat(8000)),
        fc.nat(10),
        fc.boolean(),
        fc.constantFrom<Transport>('udp', 'tcp'),
        (count, meta, udpSize, udpAnswerLimit, disableCompression, transport) => {
          const sections = services(count, meta);
          const asked = question(recordType.SRV, udpSize ?? undefined);
          const before = sections.answer;
          const additional = sections.additional;
          const trimmed = limitSections(transport, asked, sections, { udpAnswerLimit, disableCompression });
          expect(sections.answer).toEqual(before.slice(0, sections.answer.length));
          if (!trimmed && sections.answer.length === before.length) {
            expect([additional.length, count]).toContain(sections.additional.length);
          }
          const limit = transport === 'tcp' ? 65_523 : Math.max(512, udpSize ?? 0) - 7;
          const size = messageSize(asked, sections, !disableCompression, 65_535);
          if (sections.answer.length > 1) expect(size).toBeLessThanOrEqual(limit);
        },
      ),
    );
  });
});
