/**
 * Address templates: `{{ GetPrivateIP }}`, `{{ GetAllInterfaces | include "network" "10.0.0.0/8" | attr "address" }}`
 * (go-sockaddr's language, reference/agent.md §2.5), evaluated over a given list of interface addresses. A pipeline's
 * value, a list of addresses or a text, is the last argument of the next function.
 */
import { compileGoRegexp, GoRegexpError } from '../codec/index.ts';
import type { InterfaceAddress } from '../model/index.ts';
import { type Cidr, cidrContains, formatIp, ipBits, networkOf, parseCidr, parseIp } from './ip.ts';

/** Longest template, characters. */
const templateMax = 4096;

export class TemplateError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'TemplateError';
  }
}

export interface TemplateHost {
  readonly interfaces: readonly InterfaceAddress[];
  /** Name of the interface the default route leads through. */
  readonly defaultInterface?: string;
}

/**
 * Expands the `{{ … }}` parts of `text`; text without them is returned as it is. The result is trimmed.
 * @throws TemplateError
 */
export function expandTemplate(text: string, host: TemplateHost): string {
  if (!text.includes('{{')) return text.trim();
  const wrong = (reason: string): TemplateError =>
    new TemplateError(
      `error parsing ${JSON.stringify(text)}: unable to parse template ${JSON.stringify(text)}: ${reason}`,
    );
  if (text.length > templateMax) throw wrong(`longer than ${templateMax} characters`);
  const parts = text.split(/\{\{-?|-?\}\}/);
  if (parts.length % 2 === 0) throw wrong('unclosed action');
  return parts
    .map((part, index) => (index % 2 === 0 ? part : evaluate(part, host, wrong)))
    .join('')
    .trim();
}

type Addresses = readonly InterfaceAddress[];
type Value = Addresses | string;
type Fail = (reason: string) => TemplateError;
type Argument = string | number;

function evaluate(pipeline: string, host: TemplateHost, wrong: Fail): string {
  let value: Value | undefined;
  for (const command of commands(pipeline, wrong)) value = call(command, value, host, wrong);
  if (value === undefined) throw wrong('missing value for command');
  return typeof value === 'string' ? value : value.map((entry) => entry.address).join(' ');
}

/** Splits at `|` outside of strings, and each command into words. */
function commands(pipeline: string, wrong: Fail): Argument[][] {
  const result: Argument[][] = [[]];
  const token = /\s+|\||"(?:[^"\\]|\\.)*"|`[^`]*`|[+-]?\d+(?![\w.])|[A-Za-z]\w*/y;
  while (token.lastIndex < pipeline.length) {
    const at = token.lastIndex;
    const found = token.exec(pipeline)?.[0];
    if (found === undefined) throw wrong(`unexpected ${JSON.stringify(pipeline.slice(at, at + 16))}`);
    if (found === '|') result.push([]);
    else if (found.startsWith('`')) result.at(-1)!.push(found.slice(1, -1));
    else if (found.startsWith('"')) result.at(-1)!.push(unquote(found, wrong));
    else if (found.trim() !== '') result.at(-1)!.push(/^[+-]?\d/.test(found) ? Number(found) : found);
  }
  if (result.some((command) => command.length === 0)) throw wrong('missing value for command');
  return result;
}

function unquote(literal: string, wrong: Fail): string {
  try {
    return JSON.parse(literal) as string;
  } catch {
    throw wrong(`bad string ${literal}`);
  }
}

function call([name, ...args]: readonly Argument[], piped: Value | undefined, host: TemplateHost, wrong: Fail): Value {
  const text = (index: number): string => {
    const argument = args[index];
    if (argument === undefined) throw wrong(`wrong number of args for ${name}`);
    return String(argument);
  };
  const list = (): Addresses => {
    if (piped === undefined || typeof piped === 'string') throw wrong(`${name} needs a list of addresses before it`);
    return piped;
  };
  const count = (): number => {
    const value = Number(text(0));
    if (!Number.isSafeInteger(value)) throw wrong(`${name} needs a whole number`);
    return value;
  };
  switch (name) {
    case 'GetAllInterfaces':
      return host.interfaces;
    case 'GetDefaultInterfaces':
      return defaults(host);
    case 'GetPrivateInterfaces':
      return privateInterfaces(host);
    case 'GetPublicInterfaces':
      return publicInterfaces(host);
    case 'GetPrivateIP':
      return privateInterfaces(host)[0]?.address ?? '';
    case 'GetPrivateIPs':
      return addressesOf(privateInterfaces(host));
    case 'GetPublicIP':
      return publicInterfaces(host)[0]?.address ?? '';
    case 'GetPublicIPs':
      return addressesOf(publicInterfaces(host));
    case 'GetInterfaceIP':
      return usable(named(host, text(0)), host)[0]?.address ?? '';
    case 'GetInterfaceIPs':
      return addressesOf(named(host, text(0)));
    case 'include':
    case 'exclude': {
      const keep = selector(text(0), text(1), wrong);
      return list().filter((entry) => keep(entry) === (name === 'include'));
    }
    case 'sort':
      return sorted(list(), text(0), host, wrong);
    case 'unique': {
      const key = text(0);
      if (key !== 'address' && key !== 'name') throw wrong(`unsupported unique selector: ${JSON.stringify(key)}`);
      return list().filter((entry, index, all) => all.findIndex((other) => other[key] === entry[key]) === index);
    }
    case 'limit':
      return list().slice(0, Math.max(0, count()));
    case 'offset':
      return list().slice(count());
    case 'math': {
      const operation = text(0);
      const operand = text(1);
      return list().map((entry) => calculated(entry, operation, operand, wrong));
    }
    case 'attr': {
      const attribute = text(0);
      const [first] = list();
      return first === undefined ? '' : attributeOf(first, attribute, wrong);
    }
    case 'join': {
      const attribute = text(0);
      return list()
        .map((entry) => attributeOf(entry, attribute, wrong))
        .join(text(1));
    }
    default:
      throw wrong(`function ${JSON.stringify(String(name))} not defined`);
  }
}

const addressesOf = (entries: Addresses): string => entries.map((entry) => entry.address).join(' ');
const named = (host: TemplateHost, name: string): Addresses => host.interfaces.filter((entry) => entry.name === name);

/** RFCs whose address blocks can be selected; 6890 is every special-purpose block. */
const rfcBlocks: Readonly<Record<string, readonly string[]>> = {
  1918: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'],
  3927: ['169.254.0.0/16'],
  4193: ['fc00::/7'],
  4291: ['::1/128', '::/128', 'fe80::/10'],
  5737: ['192.0.2.0/24', '198.51.100.0/24', '203.0.113.0/24'],
  5771: ['224.0.0.0/4'],
  6598: ['100.64.0.0/10'],
  6890: (
    '0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 ' +
    '192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 ' +
    '::1/128 ::/128 64:ff9b::/96 ::ffff:0:0/96 100::/64 2001::/23 2001:db8::/32 2002::/16 fc00::/7 fe80::/10'
  ).split(' '),
};

const cidrs = (texts: readonly string[]): Cidr[] => texts.map((text) => parseCidr(text)!);
const specialPurpose = cidrs(rfcBlocks['6890']!);
const linkLocal = cidrs(['169.254.0.0/16', 'fe80::/10']);
const multicast = cidrs(['224.0.0.0/4', 'ff00::/8']);

function within(entry: InterfaceAddress, blocks: readonly Cidr[]): boolean {
  const ip = parseIp(entry.address);
  return ip !== undefined && blocks.some((block) => cidrContains(block, ip));
}

const forwardable = (entry: InterfaceAddress): boolean =>
  !entry.loopback && !within(entry, linkLocal) && !within(entry, multicast);

/** Up and forwardable; IPv4 before IPv6, the default interface first, small networks (long prefixes) last. */
function usable(entries: Addresses, host: TemplateHost): InterfaceAddress[] {
  const candidates = entries.filter((entry) => entry.up && forwardable(entry));
  return sorted(candidates, 'default,type,size', host, (reason) => new TemplateError(reason));
}

const privateInterfaces = (host: TemplateHost): Addresses =>
  usable(host.interfaces, host).filter((entry) => within(entry, specialPurpose));
const publicInterfaces = (host: TemplateHost): Addresses =>
  usable(host.interfaces, host).filter((entry) => !within(entry, specialPurpose));

function defaults(host: TemplateHost): Addresses {
  return host.defaultInterface === undefined ? [] : named(host, host.defaultInterface);
}

const flagTests: Readonly<Record<string, (entry: InterfaceAddress) => boolean>> = {
  up: (entry) => entry.up,
  down: (entry) => !entry.up,
  loopback: (entry) => entry.loopback,
  forwardable,
  'global unicast': forwardable,
  'link-local unicast': (entry) => within(entry, linkLocal),
  multicast: (entry) => within(entry, multicast),
};

const typeFamilies: Readonly<Record<string, readonly number[]>> = { ipv4: [4], ipv6: [6], ip: [4, 6], unix: [] };

function selector(kind: string, parameter: string, wrong: Fail): (entry: InterfaceAddress) => boolean {
  switch (kind) {
    case 'name':
    case 'address':
      try {
        const matches = compileGoRegexp(parameter);
        return (entry) => matches(entry[kind]);
      } catch (error) {
        if (error instanceof GoRegexpError) throw wrong(error.message);
        throw error;
      }
    case 'network': {
      const blocks = parameter.split('|').map((text) => {
        const block = parseCidr(text.trim());
        if (block === undefined) throw wrong(`${JSON.stringify(text)} is no network, expected address/bits`);
        return block;
      });
      return (entry) => within(entry, blocks);
    }
    case 'rfc': {
      const blocks = parameter.split('|').flatMap((number) => {
        const known = Object.hasOwn(rfcBlocks, number.trim()) ? rfcBlocks[number.trim()]! : undefined;
        if (known === undefined) throw wrong(`unsupported RFC ${JSON.stringify(number)}`);
        return cidrs(known);
      });
      return (entry) => within(entry, blocks);
    }
    case 'type': {
      const families = typeFamilies[parameter.toLowerCase()];
      if (families === undefined) throw wrong(`unsupported type ${JSON.stringify(parameter)}`);
      return (entry) => families.includes(entry.family);
    }
    case 'flag':
    case 'flags': {
      const tests = parameter.split('|').map((flag) => {
        const test = Object.hasOwn(flagTests, flag.trim()) ? flagTests[flag.trim()]! : undefined;
        if (test === undefined) throw wrong(`unsupported flag ${JSON.stringify(flag)}`);
        return test;
      });
      return (entry) => tests.every((test) => test(entry));
    }
    case 'size': {
      const bits = Number(/^\/?(\d+)$/.exec(parameter)?.[1] ?? Number.NaN);
      if (Number.isNaN(bits)) throw wrong(`bad size ${JSON.stringify(parameter)}, expected a number of bits`);
      return (entry) => entry.prefixLength === bits;
    }
    case 'port':
      // addresses of interfaces have no port
      return () => false;
    default:
      throw wrong(`unknown selector ${JSON.stringify(kind)}`);
  }
}

function sorted(entries: Addresses, keys: string, host: TemplateHost, wrong: Fail): InterfaceAddress[] {
  const orders = keys.split(',').map((key) => {
    const [, sign, name = ''] = /^([+-]?)(.*)$/.exec(key.trim())!;
    const rank = sortRanks(name, host);
    if (rank === undefined) throw wrong(`unknown sort key ${JSON.stringify(name)}`);
    return { rank, direction: sign === '-' ? -1 : 1 };
  });
  return entries.toSorted((a, b) => {
    for (const { rank, direction } of orders) {
      const [left, right] = [rank(a), rank(b)];
      if (left < right) return -direction;
      if (left > right) return direction;
    }
    return 0;
  });
}

function sortRanks(key: string, host: TemplateHost): ((entry: InterfaceAddress) => bigint | string) | undefined {
  switch (key) {
    case 'address':
      return (entry) => parseIp(entry.address)?.value ?? 0n;
    case 'default':
      return (entry) => (entry.name === host.defaultInterface ? 0n : 1n);
    case 'name':
      return (entry) => entry.name;
    case 'size':
      // the size of the network: a longer prefix is smaller
      return (entry) => BigInt(ipBits(entry.family) - entry.prefixLength);
    case 'type':
      return (entry) => BigInt(entry.family);
    case 'port':
    case 'private':
      return () => 0n;
    default:
      return undefined;
  }
}

function calculated(entry: InterfaceAddress, operation: string, operand: string, wrong: Fail): InterfaceAddress {
  const amount = Number(operand);
  const ip = parseIp(entry.address);
  if (ip === undefined || !Number.isSafeInteger(amount)) throw wrong(`bad operand ${JSON.stringify(operand)} for math`);
  const size = 1n << BigInt(ipBits(entry.family));
  const shifted = (from: bigint): InterfaceAddress => ({
    ...entry,
    address: formatIp({ family: entry.family, value: (((from + BigInt(amount)) % size) + size) % size }),
  });
  switch (operation) {
    case 'address':
      return shifted(ip.value);
    case 'network': {
      // a negative offset counts from the end of the network
      const network = networkOf(ip, entry.prefixLength).value;
      const addresses = 1n << BigInt(ipBits(entry.family) - entry.prefixLength);
      return shifted(amount < 0 ? network + addresses : network);
    }
    case 'mask': {
      if (amount < 0 || amount > ipBits(entry.family)) throw wrong(`bad mask ${JSON.stringify(operand)}`);
      return { ...entry, address: formatIp(networkOf(ip, amount)), prefixLength: amount };
    }
    default:
      throw wrong(`unsupported math operation ${JSON.stringify(operation)}`);
  }
}

function attributeOf(entry: InterfaceAddress, attribute: string, wrong: Fail): string {
  const ip = parseIp(entry.address);
  switch (attribute) {
    case 'address':
    case 'host':
    case 'name':
      return entry[attribute === 'host' ? 'address' : attribute];
    case 'network':
      return ip === undefined ? '' : `${formatIp(networkOf(ip, entry.prefixLength))}/${entry.prefixLength}`;
    case 'string':
      return `${entry.address}/${entry.prefixLength}`;
    case 'mask_bits':
      return String(entry.prefixLength);
    case 'type':
      return `IPv${entry.family}`;
    case 'size':
      return String(1n << BigInt(ipBits(entry.family) - entry.prefixLength));
    case 'flags':
      return [entry.up ? 'up' : 'down', ...(entry.loopback ? ['loopback'] : [])].join('|');
    default:
      throw wrong(`unsupported attribute ${JSON.stringify(attribute)}`);
  }
}
