// Every request and reply that was recorded from the real Consul is read and written back as the same bytes. Where the
// bytes differ, the values must not, as the order of maps with the user's keys is left to chance in Go; and where those
// differ, `exceptions` says why.
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { decodeMsgpack, decodeShape, encodeShape, type Shape } from '../../../../src/codec/index.ts';
import { callShapes, serverCallShapes } from '../../../../src/model/wire/index.ts';
import { differing } from './differing.ts';

interface Recorded {
  readonly method?: string;
  readonly note?: string;
  readonly request_body_hex?: string;
  readonly response_body_hex?: string;
  readonly response_header?: { readonly Error?: string };
}

interface AnyCallShape {
  readonly request: Shape<unknown>;
  readonly reply: Shape<unknown>;
}

const folder = resolve(import.meta.dirname, '../../../fixtures/rpc');
const shapes = new Map<string, AnyCallShape>(
  Object.entries({ ...callShapes, ...serverCallShapes } as unknown as Record<string, AnyCallShape>),
);

/** What is written otherwise than it was read, by the path of the value. */
const exceptions: readonly (readonly [method: RegExp, path: RegExp, why: string])[] = [
  [/^Operator\.ServerHealth$/, /StableSince$/, 'milliseconds in memory'],
  [/^FederationState\.Apply$/, /UpdatedAt$/, 'a nil time is the zero time'],
  [/^Coordinate\.Update$/, /^Coord\./, 'integers where floats belong; and NaN, which equals nothing'],
  [/^ConfigEntry\.Delete$/, /^$/, "agents leave the entry's own kind empty: the one in front counts"],
];

const recorded = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .flatMap((file) => {
    const { vectors } = JSON.parse(readFileSync(resolve(folder, file), 'utf8')) as { readonly vectors: Recorded[] };
    return vectors.map((vector, i) => ({
      ...vector,
      title: `${file} #${i} ${vector.method} ${vector.note ?? ''}`,
      // A test client of our own left out what it did not need; the peer never does.
      sparse: file === 'errors.json' || /own test client/.test(vector.note ?? ''),
    }));
  })
  .filter(({ method, request_body_hex: hex }) => method !== undefined && hex !== undefined);

describe('recorded calls', () => {
  test('are there, and every method has its shapes', () => {
    expect(recorded.length).toBeGreaterThan(250);
    expect(recorded.map(({ method }) => method!).filter((method) => !shapes.has(method))).toEqual([]);
  });

  test.each(recorded)('$title: request', ({ method, request_body_hex: hex, sparse }) => {
    sameAgain(method!, shapes.get(method!)!.request, hex!, sparse);
  });

  const answered = recorded.filter(
    ({ response_body_hex: hex, response_header: header }) => hex && (header?.Error ?? '') === '',
  );
  test.each(answered)('$title: reply', ({ method, response_body_hex: hex }) => {
    sameAgain(method!, shapes.get(method!)!.reply, hex!, false);
  });
});

function sameAgain(method: string, shape: Shape<unknown>, hex: string, sparse: boolean): void {
  const value = decodeShape(shape, Buffer.from(hex, 'hex'));
  const again = encodeShape(shape, value);
  if (Buffer.from(again).toString('hex') === hex) return;
  const differences = [...differing(decodeMsgpack(Buffer.from(hex, 'hex')), decodeMsgpack(again), '', sparse)].filter(
    (path) => !exceptions.some(([methods, paths]) => methods.test(method) && paths.test(path)),
  );
  expect(differences).toEqual([]);
}
