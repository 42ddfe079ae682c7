/** Builds the record types that our own answers consist of. */
import type { DnsOptions } from './dns-options.ts';
import { classIN, noBytes, recordType, type ResourceRecord } from './message.ts';
import { DnsFormatError, type Name, parseName } from './name.ts';

/** RFC 1035 §3.3: a character string has one length byte. */
const textBytesMax = 255;

function record(
  owner: Name | null,
  type: number,
  ttl: number,
  head: Uint8Array,
  names: readonly Name[],
  tail: Uint8Array = noBytes,
): ResourceRecord {
  return { owner, type, class: classIN, ttl, head, names, tail };
}

/** A or AAAA, by the number of bytes. */
export function addressRecord(owner: Name | null, ttl: number, address: Uint8Array): ResourceRecord {
  return record(owner, addressType(address), ttl, address, []);
}

export function addressType(address: Uint8Array): number {
  return address.length === 4 ? recordType.A : recordType.AAAA;
}

/** Whether a question of `type` is answered with an address of this family. */
export function familyFits(type: number, address: Uint8Array): boolean {
  return type === recordType.ANY || type === addressType(address);
}

export function cnameRecord(owner: Name | null, ttl: number, target: Name): ResourceRecord {
  return record(owner, recordType.CNAME, ttl, noBytes, [target]);
}

export function nsRecord(owner: Name, ttl: number, target: Name): ResourceRecord {
  return record(owner, recordType.NS, ttl, noBytes, [target]);
}

export function ptrRecord(owner: Name | null, target: Name): ResourceRecord {
  return record(owner, recordType.PTR, 0, noBytes, [target]);
}

/** Priority is always 1. */
export function srvRecord(ttl: number, weight: number, port: number, target: Name): ResourceRecord {
  const head = Buffer.alloc(6);
  head.writeUInt16BE(1, 0);
  head.writeUInt16BE(weight & 0xffff, 2);
  head.writeUInt16BE(port & 0xffff, 4);
  return record(null, recordType.SRV, ttl, head, [target]);
}

export function soaRecord(domain: string, soa: DnsOptions['soa'], unixSeconds: number): ResourceRecord {
  const tail = Buffer.alloc(20);
  tail.writeUInt32BE(unixSeconds % 2 ** 32, 0);
  [soa.refresh, soa.retry, soa.expire, soa.minTtl].forEach((value, i) =>
    tail.writeUInt32BE(value % 2 ** 32, 4 + 4 * i),
  );
  const names = [parseName(`ns.${domain}`), parseName(`hostmaster.${domain}`)];
  return record(parseName(domain), recordType.SOA, soa.minTtl, noBytes, names, tail);
}

/**
 * Node metadata as TXT records, `key=value` in RFC 1464's quoting; a key `rfc1035-…` gives the value alone.
 * @throws DnsFormatError for a string over 255 bytes: the whole answer fails then, as at the peer.
 */
export function metaRecords(
  owner: Name | null,
  ttl: number,
  meta: Readonly<Record<string, string>> | null,
): ResourceRecord[] {
  return Object.entries(meta ?? {}).map(([key, value]) => {
    const text = key.toLowerCase().startsWith('rfc1035-') ? value : `${quoteKey(key)}=${value.replaceAll('`', '``')}`;
    const bytes = Buffer.from(text, 'utf8');
    if (bytes.length > textBytesMax) {
      throw new DnsFormatError(
        `node metadata ${JSON.stringify(key)} does not fit a TXT string of ${textBytesMax} bytes`,
      );
    }
    return record(owner, recordType.TXT, ttl, Buffer.concat([Buffer.of(bytes.length), bytes]), []);
  });
}

function quoteKey(key: string): string {
  const quoted = key.replaceAll('`', '``').replaceAll('=', '`=');
  const outer = (spaces: string): string => '` '.repeat(spaces.length);
  return quoted.replace(/^ +/, outer).replace(/ +$/, outer);
}
