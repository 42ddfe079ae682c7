// Where nodes stand: which reports are kept, how far it is from one to another, what goes with a node.
import * as fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  type Coordinate,
  coordinateDistance,
  type NodeCoordinate,
  unmeasuredCoordinate,
} from '../../../src/model/index.ts';
import { StateStore } from '../../../src/state/index.ts';
import { register } from './helpers.ts';

const at = (x: number, more: Partial<Coordinate> = {}): Coordinate => ({
  Vec: [x, 0, 0, 0, 0, 0, 0, 0],
  Error: 0.5,
  Adjustment: 0,
  Height: 0,
  ...more,
});

describe('coordinateDistance', () => {
  test.each([
    [at(0), at(3), 3],
    [at(1, { Height: 0.1 }), at(1, { Height: 0.2 }), 0.3],
    [at(0, { Adjustment: -0.5 }), at(3, { Adjustment: 1 }), 3.5],
    // An adjustment that would lead below zero does not count.
    [at(0, { Adjustment: -2 }), at(1, { Adjustment: -2 }), 1],
    [{ ...at(0), Vec: [0, 3, 0, 0, 0, 0, 0, 0] }, { ...at(0), Vec: [0, 0, 0, 0, 0, 0, 0, 4] }, 5],
  ])('from %j to %j: %d', (a, b, expected) => {
    expect(coordinateDistance(a, b)).toBeCloseTo(expected, 12);
  });

  const part = fc.double({ min: -1, max: 1, noNaN: true });
  const coordinate = fc.record({
    Vec: fc.array(part, { minLength: 8, maxLength: 8 }),
    Error: fc.constant(0),
    Adjustment: part,
    Height: fc.double({ min: 0, max: 1, noNaN: true }),
  });

  test('is the same both ways and never below zero', () => {
    fc.assert(
      fc.property(coordinate, coordinate, (a, b) => {
        // Where adjustments take away all but a rounding error, the order of the sum decides whether they count.
        const bare = coordinateDistance({ ...a, Adjustment: 0 }, { ...b, Adjustment: 0 });
        fc.pre(Math.abs(bare + a.Adjustment + b.Adjustment) > 1e-9);
        expect(coordinateDistance(a, b)).toBeCloseTo(coordinateDistance(b, a), 12);
        expect(coordinateDistance(a, b)).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});

describe('a batch', () => {
  let store: StateStore;
  const apply = (request: readonly NodeCoordinate[]): unknown =>
    store.apply(store.lastIndex + 1, { type: 'Coordinate', request });
  const entry = (Node: string, Coord: Coordinate): NodeCoordinate => ({ Node, Segment: '', Coord });

  beforeEach(() => {
    store = new StateStore();
    for (const Node of ['a', 'b']) register(store, { Node });
  });

  test('passes over unknown nodes and what is no point, and moves the index all the same', () => {
    apply([entry('nobody', at(1)), entry('a', at(Number.NaN)), entry('b', { ...at(1), Height: Infinity })]);
    expect(store.coordinates.list()).toEqual({ index: store.lastIndex, result: [] });
  });

  test('replaces, in any letter case, and wakes the watchers of its nodes only', () => {
    apply([entry('b', at(1)), entry('a', unmeasuredCoordinate)]);
    const woken: string[] = [];
    for (const node of ['A', 'b']) {
      const keys: string[] = [];
      store.coordinates.ofNode(node, keys);
      store.watch(keys, () => woken.push(node));
    }
    apply([entry('A', at(2))]);
    expect(woken).toEqual(['A']);
    expect(store.coordinates.list().result).toEqual([entry('A', at(2)), entry('b', at(1))]);
    expect(store.coordinates.get('a')).toEqual(at(2));
  });

  test('goes with its node', () => {
    apply([entry('a', at(1)), entry('b', at(2))]);
    store.apply(store.lastIndex + 1, { type: 'Deregister', request: { Datacenter: 'dc1', Node: 'a' } });
    expect(store.coordinates.list()).toEqual({ index: store.lastIndex, result: [entry('b', at(2))] });
    expect(store.coordinates.ofNode('a').result).toEqual([]);
  });
});
