/** DNS packets that are nearly right: every recorded query, with something broken. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Draw } from './fuzz.ts';

const fixtures = resolve(import.meta.dirname, '../../fixtures/golden');

interface Registration {
  readonly method?: string;
  readonly path: string;
  readonly body: unknown;
}
interface Recording {
  readonly setup?: readonly Registration[];
  readonly cases: readonly { readonly query: object }[];
}
interface Runner {
  readonly buildQuery: (query: object, id: number) => Buffer;
}

const { buildQuery } = (await import(join(fixtures, 'replay-dns.mjs'))) as Runner;
const read = (file: string): Recording => JSON.parse(readFileSync(join(fixtures, 'dns', file), 'utf8')) as Recording;

/** Every query that the recordings hold. */
export const recordedQueries: readonly Buffer[] = readdirSync(join(fixtures, 'dns')).flatMap((file) =>
  read(file).cases.map(({ query }) => buildQuery(query, 0)),
);

/** Records that most of the queries ask for. */
export const registrations: readonly Registration[] = ['names.json', 'limits-hundred.json'].flatMap(
  (file) => read(file).setup ?? [],
);

const types = [1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 41, 251, 252, 255, 0, 65_535];
const labels = [
  'web',
  'v1',
  '_web',
  '_tcp',
  'service',
  'node',
  'query',
  'connect',
  'ingress',
  'addr',
  'dc1',
  'consul',
].concat([
  'in-addr',
  'ip6',
  'arpa',
  '1',
  '127',
  '0a010001',
  'n1',
  'WeB',
  '*',
  '\\',
  'x'.repeat(63),
  '\0',
  '\u00ff',
  'a.b',
]);

/** A packet, from chance. Some are whole, so that answers are made as well. */
export function fuzzPacket(draw: Draw): Buffer {
  const packet = draw.chance(0.3) ? asked(draw) : Buffer.from(draw.pick(recordedQueries));
  if (draw.chance(0.15)) return packet;
  if (draw.chance(0.02)) return Buffer.from(draw.bytes(draw.integer(600)));
  if (draw.chance(0.1) && packet.length >= 12) {
    // A section that says more, or less, than follows.
    packet.writeUInt16BE(draw.pick([0, 1, 2, 255, 65_535]), 4 + 2 * draw.integer(4));
    return packet;
  }
  if (draw.chance(0.1) && packet.length >= 16) {
    // A pointer: to itself, ahead, back, beyond the end.
    packet.writeUInt16BE(
      0xc000 | draw.pick([12, 0, 13, 14, packet.length, 0x3fff]),
      12 + draw.integer(packet.length - 14),
    );
    return packet;
  }
  return draw.mutated(packet);
}

/** A question about a name made of the words that names of this domain are made of. */
function asked(draw: Draw): Buffer {
  const parts = Array.from({ length: 1 + draw.integer(7) }, () => draw.pick(labels));
  if (draw.chance(0.8)) parts.push('consul');
  const name = parts
    .map((label) => Buffer.from(label, 'latin1'))
    .map((label) => Buffer.concat([Buffer.of(label.length), label]));
  const head = Buffer.from([
    0,
    0,
    draw.pick([0, 1, 1, 1, 0x81, 0x28]),
    draw.pick([0, 0, 0x20, 0x80]),
    0,
    1,
    0,
    0,
    0,
    0,
    0,
    0,
  ]);
  const end = Buffer.from([0, 0, 0, 0, draw.pick([1, 1, 1, 3, 255, 0])]);
  end.writeUInt16BE(draw.pick(types), 1);
  const question = Buffer.concat([head, ...name, end]);
  if (draw.chance(0.7)) return question;
  question.writeUInt16BE(1, 10);
  const size = draw.pick([0, 512, 1_232, 4_096, 65_535]);
  return Buffer.concat([
    question,
    Buffer.from([0, 0, 41, size >> 8, size & 0xff, 0, draw.pick([0, 0, 1]), draw.pick([0, 0x80]), 0, 0, 0]),
  ]);
}
