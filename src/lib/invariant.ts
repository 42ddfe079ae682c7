/**
 * Checks a condition that only a programming error can break. Never stripped: a core that has lost its own rules
 * must stop, not guess (reference/style.md §2, item 13).
 */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`invariant violated: ${message}`);
}

/** Ends an exhaustive `switch` over a union; the compiler refuses it when a member was forgotten. */
export function unreachable(value: never): never {
  throw new Error(`invariant violated: unexpected value ${JSON.stringify(value)}`);
}
