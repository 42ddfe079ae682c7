import * as fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CoordinateClient, isUsableCoordinate } from '../../../../src/gossip/serf/coordinate-client.ts';
import { decodePing, encodePing } from '../../../../src/gossip/serf/ping.ts';
import { type Coordinate, coordinateDistance, unmeasuredCoordinate } from '../../../../src/model/index.ts';
import { SeededRandom } from '../../../../src/sim/seeded-random.ts';

interface Sequence {
  readonly name: string;
  readonly peers: Readonly<Record<string, Coordinate>>;
  readonly steps: readonly {
    readonly after: Coordinate;
    readonly peer: string;
    readonly rttNs: number;
    readonly distanceBeforeNs: number;
  }[];
}
const path = join(import.meta.dirname, '../../../fixtures/gossip/coordinates.json');
const [printed, sequence] = JSON.parse(readFileSync(path, 'utf8')) as [
  { readonly a: Coordinate; readonly b: Coordinate; readonly computedSeconds: number },
  Sequence,
];

describe('a coordinate', () => {
  test('is as far from another as the product printed', () => {
    expect(coordinateDistance(printed.a, printed.b)).toBeCloseTo(printed.computedSeconds, 15);
  });

  test('follows the reference algorithm step by step', () => {
    const client = new CoordinateClient(new SeededRandom(1));
    for (const { after, peer, rttNs, distanceBeforeNs } of sequence.steps) {
      const other = sequence.peers[peer]!;
      expect(Math.trunc(coordinateDistance(client.coordinate, other) * 1e9)).toBe(distanceBeforeNs);
      expect(client.update(peer, other, rttNs / 1e9)).toBeNull();
      const got = client.coordinate;
      for (const [i, value] of after.Vec.entries()) expect(got.Vec[i]).toBeCloseTo(value, 16);
      expect(got.Error).toBeCloseTo(after.Error, 15);
      expect(got.Adjustment).toBeCloseTo(after.Adjustment, 16);
      expect(got.Height).toBeCloseTo(after.Height, 16);
    }
  });

  test.each<[string, Partial<Coordinate>, number]>([
    ['a negative round trip time', {}, -1e-9],
    ['a round trip time above ten seconds', {}, 11],
    ['a round trip time that is no number', {}, Number.NaN],
    ['a wrong number of dimensions', { Vec: [1, 2, 3] }, 0.01],
    ['an infinite height', { Height: Infinity }, 0.01],
    ['a vector with NaN', { Vec: [Number.NaN, 0, 0, 0, 0, 0, 0, 0] }, 0.01],
  ])('does not move by %s', (_, wrong, seconds) => {
    const client = new CoordinateClient(new SeededRandom(1));
    expect(client.update('n', { ...unmeasuredCoordinate, ...wrong }, seconds)).not.toBeNull();
    expect(client.coordinate).toBe(unmeasuredCoordinate);
  });

  test('uses the median of the last three measurements of a node', () => {
    const stray = new CoordinateClient(new SeededRandom(1));
    const calm = new CoordinateClient(new SeededRandom(1));
    const other = { ...unmeasuredCoordinate, Vec: [0.01, 0, 0, 0, 0, 0, 0, 0] };
    for (const [first, second] of [
      [0.02, 0.02],
      [0.02, 0.02],
      [9, 0.02],
    ] as const) {
      stray.update('n', other, first);
      calm.update('n', other, second);
    }
    expect(stray.coordinate).toEqual(calm.coordinate);
  });

  test('begins anew when numbers run away', () => {
    const client = new CoordinateClient(new SeededRandom(1));
    client.update('n', { ...unmeasuredCoordinate, Vec: [1e200, 0, 0, 0, 0, 0, 0, 0] }, 0.01);
    expect(client.coordinate).toBe(unmeasuredCoordinate);
    expect(client.resets).toBe(1);
  });

  test('stays a point whatever it is told', () => {
    const double = fc.double({ min: -1e6, max: 1e6, noNaN: true });
    const coordinate = fc.record({
      Vec: fc.array(double, { minLength: 8, maxLength: 8 }),
      Error: fc.double({ min: 0, max: 1.5, noNaN: true }),
      Adjustment: double,
      Height: fc.double({ min: 1e-5, max: 10, noNaN: true }),
    });
    const update = fc.tuple(fc.constantFrom('a', 'b'), coordinate, fc.double({ min: 0, max: 10, noNaN: true }));
    fc.assert(
      fc.property(fc.array(update, { maxLength: 30 }), (updates) => {
        const client = new CoordinateClient(new SeededRandom(7));
        for (const [node, other, seconds] of updates) client.update(node, other, seconds);
        expect(isUsableCoordinate(client.coordinate)).toBe(true);
        expect(client.coordinate.Error).toBeLessThanOrEqual(1.5);
        expect(client.coordinate.Height).toBeGreaterThanOrEqual(1e-5);
      }),
    );
  });

  test('learns the round trip times of a line of nodes', () => {
    const random = new SeededRandom(3);
    const clients = Array.from({ length: 6 }, (_, i) => new CoordinateClient(new SeededRandom(i + 1)));
    const seconds = (a: number, b: number): number => Math.abs(a - b) * 0.01 + 0.001;
    for (let round = 0; round < 2000; round++) {
      const a = random.integer(6);
      const b = (a + 1 + random.integer(5)) % 6;
      clients[a]!.update(`n${b}`, clients[b]!.coordinate, seconds(a, b));
    }
    for (let a = 0; a < 6; a++) {
      for (let b = a + 1; b < 6; b++) {
        const learnt = coordinateDistance(clients[a]!.coordinate, clients[b]!.coordinate);
        expect(Math.abs(learnt - seconds(a, b)) / seconds(a, b)).toBeLessThan(0.25);
      }
    }
  });

  test('travels as doubles, whole numbers too', () => {
    const payload = encodePing(unmeasuredCoordinate);
    expect(payload[0]).toBe(1);
    expect(Buffer.from(payload).toString('hex')).toContain('cb0000000000000000'.repeat(8));
    expect(decodePing(payload)).toEqual(unmeasuredCoordinate);
    expect(decodePing(new Uint8Array())).toBeNull();
    expect(() => decodePing(Uint8Array.of(2, 0x80))).toThrow('unsupported ping version: 2');
  });
});
