/**
 * How much a test does, and from which seed. By hand it is little and quick; in CI (CI=true) it is what the project
 * promises; PORTOLAN_SEEDS, PORTOLAN_FUZZ and their like ask for more. PORTOLAN_SEED repeats the run of one seed.
 */
const { env } = process;

/** A whole number from the environment. @throws Error when it is none */
export function countFrom(name: string, standard: number): number {
  const text = env[name];
  if (text === undefined || text === '') return standard;
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 0) throw new Error(`${name}=${text}: expected a whole number`);
  return count;
}

/** The seed of a test that takes one. */
export const seedOr = (standard: number): number => countFrom('PORTOLAN_SEED', standard);

/** Whether PORTOLAN_SEED names the only seed to be run. */
export const isOneSeed = (env['PORTOLAN_SEED'] ?? '') !== '';

/** The seeds of a test that is repeated with many. */
export function seedsOf({ byHand, inCi }: { readonly byHand: number; readonly inCi: number }): readonly number[] {
  if (isOneSeed) return [seedOr(0)];
  const count = countFrom('PORTOLAN_SEEDS', env['CI'] === 'true' ? inCi : byHand);
  return Array.from({ length: count }, (_, at) => at + 1);
}
