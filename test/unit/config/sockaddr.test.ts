import { describe, expect, test } from 'vitest';
import { expandTemplate, TemplateError, type TemplateHost } from '../../../src/config/index.ts';
import { formatIp, parseIp } from '../../../src/config/ip.ts';
import type { InterfaceAddress } from '../../../src/model/index.ts';

const at = (
  name: string,
  address: string,
  prefixLength: number,
  more: Partial<InterfaceAddress> = {},
): InterfaceAddress => ({
  name,
  address,
  prefixLength,
  family: address.includes(':') ? 6 : 4,
  up: true,
  loopback: name === 'lo',
  ...more,
});

const host: TemplateHost = {
  defaultInterface: 'eth1',
  interfaces: [
    at('lo', '127.0.0.1', 8),
    at('lo', '::1', 128),
    at('eth0', '10.1.2.3', 24),
    at('eth0', 'fe80::1', 64),
    at('eth1', '192.168.7.9', 16),
    at('eth1', '8.8.4.4', 28),
    at('docker0', '172.17.0.1', 16, { up: false }),
  ],
};

describe('expandTemplate', () => {
  test.each([
    [' 10.0.0.1 ', '10.0.0.1'],
    ['{{ GetPrivateIP }}', '192.168.7.9'],
    ['{{GetPrivateIPs}}', '192.168.7.9 10.1.2.3'],
    ['{{ GetPublicIP }}', '8.8.4.4'],
    ['{{ GetInterfaceIP "eth0" }}', '10.1.2.3'],
    ['{{ GetInterfaceIP "lo" }}', ''],
    ['{{ GetInterfaceIPs "lo" }}', '127.0.0.1 ::1'],
    ['{{ GetInterfaceIP "none" }}', ''],
    ['a {{ GetPublicIP }} b', 'a 8.8.4.4 b'],
    [
      '{{ GetAllInterfaces | include "network" "10.0.0.0/8|192.168.0.0/16" | sort "address" | join "address" " " }}',
      '10.1.2.3 192.168.7.9',
    ],
    [
      '{{ GetAllInterfaces | include "name" "^eth" | exclude "type" "ipv6" | sort "-address" | attr "address" }}',
      '192.168.7.9',
    ],
    [
      '{{ GetAllInterfaces | include "rfc" "1918" | include "flags" "up|forwardable" | sort "name" | attr "name" }}',
      'eth0',
    ],
    ['{{ GetAllInterfaces | include "flags" "loopback" | unique "name" | join "name" "," }}', 'lo'],
    ['{{ GetAllInterfaces | include "address" `^8\\.` | attr "network" }}', '8.8.4.0/28'],
    ['{{ GetDefaultInterfaces | sort "size" | join "address" "," }}', '8.8.4.4,192.168.7.9'],
    ['{{ GetPrivateInterfaces | offset 1 | limit 1 | attr "address" }}', '10.1.2.3'],
    [
      '{{ GetAllInterfaces | include "name" "eth0" | include "type" "ipv4" | math "address" "+2" | attr "address" }}',
      '10.1.2.5',
    ],
    [
      '{{ GetAllInterfaces | include "name" "eth0" | include "type" "ipv4" | math "network" "+2" | attr "address" }}',
      '10.1.2.2',
    ],
    [
      '{{ GetAllInterfaces | include "name" "eth0" | include "type" "ipv4" | math "mask" "16" | attr "string" }}',
      '10.1.0.0/16',
    ],
    ['{{ GetAllInterfaces | include "size" "128" | attr "address" }}', '::1'],
  ])('%s', (template, expected) => {
    expect(expandTemplate(template, host)).toBe(expected);
  });

  test.each([
    ['{{ Frob }}', 'function "Frob" not defined'],
    ['{{ GetPrivateIP', 'unclosed action'],
    ['{{ }}', 'missing value for command'],
    ['{{ GetAllInterfaces | include "network" "x" }}', '"x" is no network'],
    ['{{ GetAllInterfaces | include "name" "(" }}', 'missing closing )'],
    ['{{ GetAllInterfaces | include "frob" "x" }}', 'unknown selector "frob"'],
    ['{{ GetPrivateIP | limit 1 }}', 'limit needs a list of addresses'],
    ['{{ GetInterfaceIP }}', 'wrong number of args for GetInterfaceIP'],
    ['{{ GetAllInterfaces | sort "constructor" }}', 'unknown sort key'],
  ])('%s is refused', (template, reason) => {
    expect(() => expandTemplate(template, host)).toThrow(TemplateError);
    expect(() => expandTemplate(template, host)).toThrow(reason);
  });
});

test.each(['0.0.0.0', '255.1.2.3', '::', '::1', '2001:db8::1', '1::2:0:0:3', 'fe80::1:0', '1:2:3:4:5:6:7:8'])(
  '%s is read and written as it is',
  (text) => {
    expect(formatIp(parseIp(text)!)).toBe(text);
  },
);
