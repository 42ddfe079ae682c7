// What a shape reads it can write, and reads the same again: for every call, whatever fields a message lacks, in
// whatever order they stand. The messages are made of the recorded ones.
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { array, assert, boolean, constantFrom, property } from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeMsgpack,
  decodeShape,
  encodeMsgpack,
  encodeShape,
  type MsgpackValue,
  type Shape,
} from '../../../../src/codec/index.ts';
import { callShapes, serverCallShapes } from '../../../../src/model/wire/index.ts';

interface AnyCallShape {
  readonly request: Shape<unknown>;
  readonly reply: Shape<unknown>;
}
const shapes = { ...callShapes, ...serverCallShapes } as unknown as Readonly<Record<string, AnyCallShape>>;

interface Recorded {
  readonly method?: string;
  readonly request_body_hex?: string;
  readonly response_body_hex?: string;
  readonly response_header?: { readonly Error?: string };
}

interface Message {
  readonly shape: Shape<unknown>;
  readonly bytes: Uint8Array;
}

const folder = resolve(import.meta.dirname, '../../../fixtures/rpc');
const messages: readonly Message[] = readdirSync(folder).flatMap((file) => {
  const { vectors } = JSON.parse(readFileSync(resolve(folder, file), 'utf8')) as { readonly vectors: Recorded[] };
  return vectors.flatMap(({ method, request_body_hex: request, response_body_hex: reply, response_header: header }) => {
    const call = method === undefined ? undefined : shapes[method];
    if (call === undefined || request === undefined) return [];
    const failed = (header?.Error ?? '') !== '';
    return [
      { shape: call.request, bytes: Buffer.from(request, 'hex') },
      ...(reply && !failed ? [{ shape: call.reply, bytes: Buffer.from(reply, 'hex') }] : []),
    ];
  });
});

/** Leaves fields out, as `keep` says one after the other, and turns the order of the others round. */
function thinned(value: MsgpackValue, keep: () => boolean): MsgpackValue {
  if (Array.isArray(value)) return value.map((item) => thinned(item, keep));
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  const kept = Object.entries(value).filter(() => keep());
  return Object.fromEntries(kept.toReversed().map(([key, item]) => [key, thinned(item, keep)]));
}

/** What is read, written and read again. */
function again({ shape, bytes }: Message): { readonly once: unknown; readonly twice: unknown } {
  const once = decodeShape(shape, bytes);
  return { once, twice: decodeShape(shape, encodeShape(shape, once)) };
}

describe('every shape', () => {
  test('reads again what it has written', () => {
    assert(
      property(constantFrom(...messages), array(boolean(), { minLength: 1, maxLength: 40 }), (message, choices) => {
        let at = 0;
        const keep = (): boolean => choices[at++ % choices.length]!;
        const bytes = encodeMsgpack(thinned(decodeMsgpack(message.bytes), keep));
        const { once, twice } = again({ shape: message.shape, bytes });
        expect(twice).toEqual(once);
      }),
      { numRuns: 2000 },
    );
  });

  const none = ['ConfigEntry.Apply', 'ConfigEntry.Delete'];
  test.each(Object.keys(shapes).filter((method) => !none.includes(method)))('%s knows what nothing is', (method) => {
    const { request, reply } = shapes[method]!;
    for (const shape of [request, reply]) {
      const { once, twice } = again({ shape, bytes: Uint8Array.of(0xc0) });
      expect(once).toEqual(shape.zero);
      expect(twice).toEqual(once);
    }
  });

  test.each(none)('%s refuses what has no entry', (method) => {
    expect(() => decodeShape(shapes[method]!.request, Uint8Array.of(0xc0))).toThrow('a config entry was expected');
  });
});
