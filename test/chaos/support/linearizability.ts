/**
 * Whether a history of operations of concurrent clients could have come from one correct object that does one
 * operation at a time (Herlihy and Wing, "Linearizability", 1990). The search is that of Wing and Gong (1993) with the
 * memory of Lowe (2017): try every operation that may come next, and never visit the same set of done operations with
 * the same state twice.
 *
 * An operation without an answer may take effect at any time after its call, or never.
 */

export interface Operation<Input, Output> {
  readonly input: Input;
  /** What the client was told; undefined when it was told nothing, or nothing that can be trusted. */
  readonly output: Output | undefined;
  /** Time of the call and of the answer, on one clock (ms); without an answer the end is Infinity. */
  readonly startMs: number;
  readonly endMs: number;
}

/** The object, one operation at a time. States are values: `keyOf` tells equal ones. */
export interface Model<State, Input, Output> {
  readonly initial: State;
  /**
   * @param output undefined: any outcome will do
   * @returns the state after it; undefined when the object in this state would not have answered so
   */
  readonly step: (state: State, input: Input, output: Output | undefined) => State | undefined;
  readonly keyOf: (state: State) => string;
}

export type Verdict =
  | { readonly kind: 'linearizable' }
  /** `longest`: as many operations as any order could explain; the rest contradicts it. */
  | { readonly kind: 'violation'; readonly longest: number; readonly total: number }
  /** The search was given up at its limit. */
  | { readonly kind: 'undecided' };

/** Configurations visited before the search is given up; each takes some 100 bytes. */
const visitedMax = 2_000_000;

interface Configuration<State> {
  /** Bit n: operation n is done. */
  readonly done: bigint;
  readonly state: State;
  /** Answered operations that are done. */
  readonly answered: number;
}

/** Judges the history of one object. */
export function checkHistory<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
  limit = visitedMax,
): Verdict {
  // Sooner answered comes sooner: mostly right, so the search seldom turns back.
  const operations = history.toSorted((a, b) => a.endMs - b.endMs || a.startMs - b.startMs);
  const total = operations.filter(({ output }) => output !== undefined).length;
  const visited = new Set<string>();
  const stack: Configuration<State>[] = [{ done: 0n, state: model.initial, answered: 0 }];
  let longest = 0;
  for (let here = stack.pop(); here !== undefined; here = stack.pop()) {
    if (here.answered === total) return { kind: 'linearizable' };
    longest = Math.max(longest, here.answered);
    const next: Configuration<State>[] = [];
    // What starts after somebody's answer comes after that operation.
    let firstEndMs = Number.POSITIVE_INFINITY;
    operations.forEach(({ startMs, endMs, input, output }, at) => {
      const bit = 1n << BigInt(at);
      if ((here.done & bit) !== 0n) return;
      // Sorted by end: the first that is not done ends first.
      firstEndMs = Math.min(firstEndMs, endMs);
      if (startMs > firstEndMs) return;
      const state = model.step(here.state, input, output);
      if (state === undefined) return;
      const done = here.done | bit;
      const key = `${done.toString(36)} ${model.keyOf(state)}`;
      if (visited.has(key)) return;
      visited.add(key);
      next.push({ done, state, answered: here.answered + (output === undefined ? 0 : 1) });
    });
    if (visited.size > limit) return { kind: 'undecided' };
    stack.push(...next.reverse());
  }
  return { kind: 'violation', longest, total };
}
