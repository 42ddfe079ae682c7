import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { limitNote, outputLimit, programOutput, timeoutOutput } from '../../../src/checks/output.ts';
import { TailBuffer } from '../../../src/lib/index.ts';

describe('the limit of an output', () => {
  test.each([
    [4096, undefined, 4096],
    [4096, 10, 10],
    [4096, 8192, 4096],
    [4096, 0, 4096],
    [100, 4096, 100],
  ])('agent %s, check %s: %s', (agent, check, limit) => {
    expect(outputLimit(agent, check)).toBe(limit);
  });

  test('a TTL note keeps its beginning', () => {
    expect(limitNote('0123456789abcdef', 10)).toBe('0123456789 ... (captured 10 of 16 bytes)');
    expect(limitNote('0123456789', 10)).toBe('0123456789');
    expect(limitNote('x'.repeat(5000), 4096)).toBe(`${'x'.repeat(4096)} ... (captured 4096 of 5000 bytes)`);
  });

  test('a program’s output keeps its end', () => {
    expect(programOutput(Buffer.from('6789'), 10)).toBe('Captured 4 of 10 bytes\n...\n6789');
    expect(programOutput(Buffer.from('6789'), 4)).toBe('6789');
  });

  test.each([
    [2000, '', 'Timed out (2s) running check'],
    [500, 'begin\n', 'Timed out (500ms) running check\n\nbegin\n'],
  ])('a timeout after %s ms with output %j', (timeoutMs, output, text) => {
    expect(timeoutOutput(timeoutMs, output)).toBe(text);
  });
});

test('a tail buffer holds the last bytes of whatever came, in whatever pieces', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 20 })), fc.integer({ min: 0, max: 30 }), (chunks, bytesMax) => {
      const tail = new TailBuffer(bytesMax);
      for (const [index, chunk] of chunks.entries()) {
        tail.push(chunk);
        if (index % 3 === 0) tail.bytes();
      }
      const all = Buffer.concat(chunks);
      expect(Buffer.from(tail.bytes())).toEqual(all.subarray(Math.max(0, all.length - bytesMax)));
      expect(tail.bytesTotal).toBe(all.length);
    }),
  );
});
