// Which of the recorded HTTP conversations Portolan does not hold yet, and why. What is not listed here must pass.

/** Calls whose endpoints do not exist yet; a path below them is answered with 404. */
export const missingEndpoints: Readonly<Record<string, string>> = {};

/** Scenario → reason. */
export const outOfScope: Readonly<Record<string, string>> = {};

/**
 * Steps that are left out of a scenario because they ask for something else that is missing: scenario → step numbers,
 * from 0. Steps that ask for a missing endpoint are left out of every scenario.
 */
export const stepsOutOfScope: Readonly<Record<string, readonly number[]>> = {};
