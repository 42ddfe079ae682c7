/** Remembered JSON is what encoding anew would give, and is made once. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeGoJson } from '../../../src/codec/index.ts';
import { ListEncoder, MapEncoder } from '../../../src/http/record-json.ts';

interface Row {
  readonly name: string;
}
const view = ({ name }: Row): { Name: string; Empty: undefined } => ({ Name: name, Empty: undefined });
const rows = fc.dictionary(
  fc.string({ unit: 'binary' }),
  fc.string().map((name): Row => ({ name })),
);
const layouts = [{ pretty: false }, { pretty: true }] as const;

describe.each(layouts)('with %j', (layout) => {
  test('a map is written as an object with its keys in order', () => {
    fc.assert(
      fc.property(rows, (record) => {
        const map = new Map(Object.entries(record));
        const expected = encodeGoJson(new Map([...map].map(([id, row]) => [id, view(row)])), layout);
        const { bytes } = new MapEncoder(view).body(map, layout);
        expect(Buffer.from(bytes).toString()).toBe(expected);
      }),
    );
  });

  test('a list is written as an array', () => {
    fc.assert(
      fc.property(rows, (record) => {
        const list = Object.values(record);
        const { bytes } = new ListEncoder(view).body(list, layout);
        expect(Buffer.from(bytes).toString()).toBe(encodeGoJson(list.map(view), layout));
      }),
    );
  });

  test('the same map has the same body, another one its own', () => {
    const encoder = new MapEncoder(view);
    const map = new Map([['a', { name: 'x' }]]);
    expect(encoder.body(map, layout)).toBe(encoder.body(map, layout));
    expect(encoder.body(new Map(map), layout)).not.toBe(encoder.body(map, layout));
  });
});

test('of a list of which one record has changed only that one is encoded again', () => {
  const seen: string[] = [];
  const encoder = new ListEncoder<Row>((row) => {
    seen.push(row.name);
    return { Name: row.name };
  });
  const [a, b, c] = [{ name: 'a' }, { name: 'b' }, { name: 'c' }] as const;
  encoder.body([a, b], { pretty: false });
  encoder.body([a, c], { pretty: false });
  expect(seen).toEqual(['a', 'b', 'c']);
});
