import { describe, expect, test } from 'vitest';
import { addressOfReverseName, addressToHex, addressToText, parseAddress } from '../../../src/dns/address.ts';

describe('addresses', () => {
  test.each([
    ['10.1.0.255', '0a0100ff'],
    ['::', '0'.repeat(32)],
    ['::1', '1'.padStart(32, '0')],
    ['2001:db8:0:1::1', '20010db8000000010000000000000001'],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
    ['64:ff9b::192.0.2.33', '0064ff9b0000000000000000c0000221'],
    ['::ffff:10.0.0.1', '0a000001'],
  ])('%s is %s', (text, hex) => {
    const bytes = parseAddress(text)!;
    expect(addressToHex(bytes)).toBe(hex);
    expect(parseAddress(addressToText(bytes))).toEqual(bytes);
  });

  test.each(['', 'web.service.consul', '10.1.0', '10.1.0.256', 'fe80::1%eth0', '1:2:3'])('%j is none', (text) => {
    expect(parseAddress(text)).toBeNull();
  });

  test.each([
    ['4.3.2.1.in-addr.arpa', '01020304'],
    [`${'1.'.padEnd(64, '0.')}ip6.arpa`, '1'.padStart(32, '0')],
  ])('%s stands for %s', (name, hex) => {
    expect(addressToHex(addressOfReverseName(name.split('.'))!)).toBe(hex);
  });

  test.each(['10.in-addr.arpa', 'arpa', '5.4.3.2.1.in-addr.arpa', '256.0.0.1.in-addr.arpa', '1.0.ip6.arpa', 'g'])(
    '%s stands for none',
    (name) => {
      expect(addressOfReverseName(name.split('.'))).toBeNull();
    },
  );
});
