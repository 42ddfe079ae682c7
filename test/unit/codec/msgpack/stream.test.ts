import { readdirSync, readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeMsgpack,
  encodeMsgpack,
  MsgpackError,
  MsgpackReader,
  MsgpackStream,
  MsgpackTruncated,
  type MsgpackValue,
} from '../../../../src/codec/index.ts';

const folder = 'test/fixtures/rpc';
const recorded: readonly (readonly [string, Buffer])[] = readdirSync(folder).flatMap((file) => {
  const { vectors } = JSON.parse(readFileSync(`${folder}/${file}`, 'utf8')) as {
    readonly vectors: readonly Record<string, unknown>[];
  };
  return vectors.flatMap((vector, at) =>
    Object.entries(vector)
      .filter(([key, value]) => /^(request|response)_(header|body)_hex$/.test(key) && typeof value === 'string')
      .map(([key, value]) => [`${file} ${at} ${key}`, Buffer.from(value as string, 'hex')] as const),
  );
});

describe('messages of real peers', () => {
  test('are there', () => expect(recorded.length).toBeGreaterThan(400));

  test('come back byte for byte through values without a schema', () => {
    const other = recorded.filter(([, bytes]) => !bytes.equals(encodeMsgpack(decodeMsgpack(bytes))));
    // The weights of a splitter are short floats, which only their shape knows.
    expect(other.every(([, bytes]) => bytes.includes(0xca))).toBe(true);
    expect(other.length).toBeLessThan(10);
  });

  test('are read over exactly', () => {
    for (const [name, bytes] of recorded) {
      const reader = new MsgpackReader(bytes);
      reader.skip();
      expect(reader.remaining, name).toBe(0);
    }
  });

  test('cut anywhere are known to be incomplete', () => {
    for (const [, bytes] of recorded.slice(0, 50)) {
      for (let length = 0; length < bytes.length; length++) {
        expect(() => new MsgpackReader(bytes.subarray(0, length)).skip()).toThrow(MsgpackTruncated);
      }
    }
  });
});

describe('a stream', () => {
  test('gives each value once it is whole, however the bytes come', () => {
    const values = recorded.slice(0, 60).map(([, bytes]) => bytes);
    const all = Buffer.concat(values);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1 }), (sizes) => {
        const stream = new MsgpackStream(1_000_000);
        const seen: Uint8Array[] = [];
        for (let at = 0, turn = 0; at < all.length; turn++) {
          const size = sizes[turn % sizes.length]!;
          stream.push(all.subarray(at, at + size));
          at += size;
          for (let value = stream.next(); value !== undefined; value = stream.next()) seen.push(value);
        }
        // Compared at the end: what was handed out stays as it is.
        expect(seen.map((value) => Buffer.from(value))).toEqual(values);
        expect(stream.bufferedBytes).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  test('gives the rest to who reads on in another form', () => {
    const stream = new MsgpackStream(100);
    stream.push(Buffer.from('81a16101', 'hex'));
    stream.push(Buffer.from('1f8b', 'hex'));
    expect(stream.next()).toHaveLength(4);
    expect(Buffer.from(stream.rest()).toString('hex')).toBe('1f8b');
    expect(stream.bufferedBytes).toBe(0);
  });

  test.each(['db00000100', 'dd00000100', 'df00000100', 'dc0100', `a161${'91'.repeat(101)}`])(
    'refuses what would be longer than allowed before it has come: %s',
    (hex) => {
      const stream = new MsgpackStream(100);
      stream.push(Buffer.from(hex, 'hex'));
      expect(() => {
        while (stream.next() !== undefined);
      }).toThrow('a value of more than 100 bytes');
    },
  );
});

const runs = Number(process.env['PORTOLAN_FUZZ'] ?? 2000);

describe('whatever comes', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc
      .tuple(fc.constantFrom(...recorded.slice(0, 100)), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }))
      .map(([[, original], changes]) => {
        const changed = Uint8Array.from(original);
        for (const [at, value] of changes) changed[at % changed.length] = value;
        return changed;
      }),
  );

  test('is read or refused, and the three ways to read agree on where it ends', () => {
    fc.assert(
      fc.property(bytes, (input) => {
        let end: number | undefined;
        const reader = new MsgpackReader(input);
        try {
          reader.skip();
          end = reader.position;
        } catch (error) {
          expect(error).toBeInstanceOf(MsgpackError);
        }
        const stream = new MsgpackStream(1_000_000);
        let value: Uint8Array | undefined;
        try {
          stream.push(input);
          value = stream.next();
        } catch (error) {
          expect(error).toBeInstanceOf(MsgpackError);
        }
        expect(value?.length).toBe(end);
        let read: MsgpackValue | undefined;
        try {
          read = decodeMsgpack(input);
        } catch (error) {
          expect(error).toBeInstanceOf(MsgpackError);
        }
        // Keys that are no text, and deep nesting, can be passed over but not read.
        if (read !== undefined) expect(end).toBeDefined();
      }),
      { numRuns: runs },
    );
  });

  test('any value comes back', () => {
    const { value } = fc.letrec<{ value: MsgpackValue }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constant(null),
        fc.boolean(),
        fc.double(),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
        fc.string({ unit: 'grapheme', maxLength: 300 }),
        fc.array(tie('value'), { maxLength: 20 }),
        fc.dictionary(fc.string(), tie('value'), { maxKeys: 20 }),
      ),
    }));
    fc.assert(
      fc.property(value, (given) => {
        expect(decodeMsgpack(encodeMsgpack(given))).toEqual(given);
      }),
      { numRuns: runs },
    );
  });
});
