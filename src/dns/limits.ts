/**
 * Cuts an answer to what the transport carries (reference/dns.md §7). Records go from the end; ADDITIONAL is then
 * rebuilt from what the remaining SRV targets need. Service and prepared-query answers only.
 */
import { type Edns, headerBytes, recordType, type ResourceRecord } from './message.ts';
import { messageBytesMax, messageSize } from './message-writer.ts';
import type { Name } from './name.ts';

export type Transport = 'udp' | 'tcp';

/** RFC 1035 §2.3.4: what every resolver takes. */
const udpBytesDefault = 512;
/** Above this many records a short UDP answer does not help the asker. */
const udpRecordsMax = 8;
/** Kept free in UDP messages, as the peer does. */
const udpSpareBytes = 7;
/** 65535 less the peer's allowance for the header. */
const tcpBytesMax = 65_523;
const tcpRecordsMax = 4096;
/** More SRV records than that never fit. */
const tcpSrvRecordsMax = 1024;
/** Further over the limit than this, the number of records is searched for and not counted down. */
const searchAboveBytes = 100;

export interface LimitedQuestion {
  readonly name: Name;
  readonly type: number;
  readonly class: number;
  readonly edns: Edns | null;
}

/** The sections of an answer in the making. */
export interface MutableSections {
  answer: ResourceRecord[];
  authority: ResourceRecord[];
  additional: ResourceRecord[];
}

/** Most bytes of a UDP answer to this question. */
function udpBytesMax(edns: Edns | null): number {
  return Math.max(udpBytesDefault, edns?.udpSize ?? 0);
}

/** Most records of a UDP answer; Infinity when EDNS offers more than the usual 512 bytes. */
export function udpRecordLimit(edns: Edns | null, udpAnswerLimit: number): number {
  return udpBytesMax(edns) > udpBytesDefault ? Infinity : Math.min(udpRecordsMax, udpAnswerLimit);
}

/** Trims `sections` in place; true when something had to go for which TC may be set. */
export function limitSections(
  transport: Transport,
  question: LimitedQuestion,
  sections: MutableSections,
  options: { readonly udpAnswerLimit: number; readonly disableCompression: boolean },
): boolean {
  const before = sections.answer.length;
  const compress = !options.disableCompression;
  if (transport === 'tcp') {
    const recordsMax = question.type === recordType.SRV ? tcpSrvRecordsMax : tcpRecordsMax;
    if (before > recordsMax) cut(sections, recordsMax);
    const cutBySize = limitSize(question, sections, compress, tcpBytesMax, tcpBytesMax);
    return cutBySize || sections.answer.length < before;
  }
  const bytesMax = udpBytesMax(question.edns);
  const recordsMax = udpRecordLimit(question.edns, options.udpAnswerLimit);
  const tooMany = before > recordsMax;
  if (tooMany) cut(sections, recordsMax);
  limitSize(question, sections, compress && !tooMany, bytesMax, bytesMax - udpSpareBytes);
  return sections.answer.length < before;
}

/** Largest answer that fits; one record always stays. */
function limitSize(
  question: LimitedQuestion,
  sections: MutableSections,
  compress: boolean,
  searchBytes: number,
  bytesMax: number,
): boolean {
  const sizeNow = (): number => {
    const uncompressed = uncompressedSize(question, sections);
    if (!compress || uncompressed <= bytesMax) return uncompressed;
    return messageSize(question, sections, compress, Math.min(messageBytesMax, bytesMax + 2 * searchAboveBytes));
  };
  let trimmed = false;
  while (sections.answer.length > 1) {
    const size = sizeNow();
    if (size <= bytesMax) break;
    trimmed = true;
    if (size - searchBytes <= searchAboveBytes) {
      cut(sections, sections.answer.length - 1);
      continue;
    }
    const { answer, additional } = sections;
    let fits = 1;
    let tooLarge = answer.length + 1;
    while (tooLarge - fits > 1) {
      const middle = (fits + tooLarge) >> 1;
      sections.answer = answer.slice(0, middle);
      sections.additional = additionalOf(sections.answer, additional);
      if (sizeNow() <= searchBytes) fits = middle;
      else tooLarge = middle;
    }
    sections.answer = answer;
    cut(sections, fits);
  }
  return trimmed;
}

function uncompressedSize(question: LimitedQuestion, sections: MutableSections): number {
  let size = headerBytes + question.name.wire.length + 4;
  for (const section of [sections.answer, sections.authority, sections.additional]) {
    for (const { owner, head, names, tail } of section) {
      size += (owner ?? question.name).wire.length + 10 + head.length + tail.length;
      for (const name of names) size += name.wire.length;
    }
  }
  return size;
}

function cut(sections: MutableSections, records: number): void {
  sections.answer = sections.answer.slice(0, records);
  sections.additional = additionalOf(sections.answer, sections.additional);
}

/** For each SRV target the first record of that owner, following CNAMEs. */
function additionalOf(answer: readonly ResourceRecord[], additional: readonly ResourceRecord[]): ResourceRecord[] {
  if (additional.length === 0) return [];
  const byOwner = new Map<string, ResourceRecord>();
  for (const record of additional) {
    const owner = record.owner?.text.toLowerCase();
    if (owner !== undefined && !byOwner.has(owner)) byOwner.set(owner, record);
  }
  const needed: ResourceRecord[] = [];
  const followed = new Set<string>();
  for (const record of answer) {
    if (record.type !== recordType.SRV) continue;
    let target: string | undefined = record.names[0]?.text.toLowerCase();
    while (target !== undefined && !followed.has(target)) {
      followed.add(target);
      const found = byOwner.get(target);
      if (found === undefined) break;
      needed.push(found);
      target = found.type === recordType.CNAME ? found.names[0]?.text.toLowerCase() : undefined;
    }
  }
  return needed;
}
