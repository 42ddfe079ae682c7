/**
 * Learns where this node stands in the network. Every probe's round trip time is a spring between two nodes; a node
 * gives way to each spring a little, in proportion to how unsure it is of its own place. A height stands for the way
 * through the node's own link, an adjustment for what the space cannot express, and a weak pull to the origin keeps
 * all nodes together from drifting away (Vivaldi; reference/gossip.md §5.13).
 */
import { type Coordinate, coordinateDimensions, coordinateDistance, unmeasuredCoordinate } from '../../model/index.ts';
import type { Random } from '../../ports/index.ts';

/** Largest error; where everybody begins. */
const errorMax = unmeasuredCoordinate.Error;
/** How far one observation moves the error (ce) and the place (cc). */
const errorShare = 0.25;
const forceShare = 0.25;
/** Observations of which the adjustment is the mean. */
const adjustmentWindow = 20;
/** Seconds. */
const heightMin = unmeasuredCoordinate.Height;
/** Round trip times remembered per node; their median is used, so that one stray one does nothing. */
const latencyFilterSize = 3;
/** Distance from the origin at which the pull is one second; the pull grows with the square. */
const gravityRho = 150;
/** Seconds; shorter is nothing. */
const zeroThreshold = 1e-6;
/** Round trip times outside are refused, seconds. */
const roundTripSecondsMax = 10;

/** Whether the coordinate is a point of our space. */
export function isUsableCoordinate({ Vec, Error, Adjustment, Height }: Coordinate): boolean {
  return Vec.length === coordinateDimensions && [...Vec, Error, Adjustment, Height].every(Number.isFinite);
}

export class CoordinateClient {
  readonly #random: Random;
  readonly #latencies = new Map<string, number[]>();
  readonly #adjustments: number[] = Array.from({ length: adjustmentWindow }, () => 0);
  #adjustmentAt = 0;
  #coordinate: Coordinate = unmeasuredCoordinate;
  #resets = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  get coordinate(): Coordinate {
    return this.#coordinate;
  }

  /** How often the coordinate came to nothing and began anew. */
  get resets(): number {
    return this.#resets;
  }

  /**
   * Takes one measurement of the way to `node`, which says that it stands at `other`.
   * @returns what was wrong with it, or null.
   */
  update(node: string, other: Coordinate, roundTripSeconds: number): string | null {
    if (other.Vec.length !== coordinateDimensions) return 'the coordinate has a wrong number of dimensions';
    if (!isUsableCoordinate(other)) return 'the coordinate is not finite';
    if (!(roundTripSeconds >= 0 && roundTripSeconds <= roundTripSecondsMax)) {
      return `the round trip time of ${roundTripSeconds} s is not in [0, ${roundTripSecondsMax}]`;
    }
    const seconds = this.#median(node, roundTripSeconds);
    this.#follow(other, seconds);
    this.#adjust(other, seconds);
    this.#fall();
    if (!isUsableCoordinate(this.#coordinate)) {
      this.#coordinate = unmeasuredCoordinate;
      this.#resets++;
    }
    return null;
  }

  /** Forgets what was measured of a node that is gone. */
  forget(node: string): void {
    this.#latencies.delete(node);
  }

  #median(node: string, seconds: number): number {
    const latencies = this.#latencies.get(node) ?? [];
    latencies.push(seconds);
    if (latencies.length > latencyFilterSize) latencies.shift();
    this.#latencies.set(node, latencies);
    return latencies.toSorted((a, b) => a - b)[Math.floor(latencies.length / 2)]!;
  }

  #follow(other: Coordinate, measuredSeconds: number): void {
    const own = this.#coordinate;
    const seconds = Math.max(measuredSeconds, zeroThreshold);
    const distance = wholeNanoseconds(coordinateDistance(own, other));
    const wrong = Math.abs(distance - seconds) / seconds;
    const weight = own.Error / Math.max(own.Error + other.Error, zeroThreshold);
    const error = Math.min(errorMax, errorShare * weight * wrong + own.Error * (1 - errorShare * weight));
    this.#push(forceShare * weight * (seconds - distance), other, { ...own, Error: error });
  }

  #adjust(other: Coordinate, seconds: number): void {
    this.#adjustments[this.#adjustmentAt] = seconds - rawDistance(this.#coordinate, other);
    this.#adjustmentAt = (this.#adjustmentAt + 1) % adjustmentWindow;
    const sum = this.#adjustments.reduce((total, sample) => total + sample, 0);
    this.#coordinate = { ...this.#coordinate, Adjustment: sum / (2 * adjustmentWindow) };
  }

  #fall(): void {
    const distance = wholeNanoseconds(coordinateDistance(unmeasuredCoordinate, this.#coordinate));
    this.#push(-((distance / gravityRho) ** 2), unmeasuredCoordinate, this.#coordinate);
  }

  /** Moves `own` away from `other` by a force in seconds; a negative one draws it near. */
  #push(force: number, other: Coordinate, own: Coordinate): void {
    const { unit, magnitude } = this.#direction(own.Vec, other.Vec);
    this.#coordinate = Object.freeze({
      ...own,
      Vec: Object.freeze(own.Vec.map((value, i) => value + unit[i]! * force)),
      Height:
        magnitude > zeroThreshold
          ? Math.max(heightMin, ((own.Height + other.Height) * force) / magnitude + own.Height)
          : own.Height,
    });
  }

  /** From `b` to `a`; at random when they are at one place, with a magnitude of 0. */
  #direction(a: readonly number[], b: readonly number[]): { unit: readonly number[]; magnitude: number } {
    const difference = a.map((value, i) => value - b[i]!);
    const magnitude = length(difference);
    if (magnitude > zeroThreshold) return { unit: difference.map((value) => value * (1 / magnitude)), magnitude };
    const chance = difference.map(() => this.#random.next() - 0.5);
    const chanceLength = length(chance);
    if (chanceLength > zeroThreshold) {
      return { unit: chance.map((value) => value * (1 / chanceLength)), magnitude: 0 };
    }
    return { unit: difference.map((_, i) => (i === 0 ? 1 : 0)), magnitude: 0 };
  }
}

function length(vector: readonly number[]): number {
  return Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
}

function rawDistance(a: Coordinate, b: Coordinate): number {
  return length(a.Vec.map((value, i) => value - b.Vec[i]!)) + a.Height + b.Height;
}

/** The peers keep an estimate as a whole number of nanoseconds; so do we, or learning would differ. */
function wholeNanoseconds(seconds: number): number {
  return Math.trunc(seconds * 1e9) / 1e9;
}
