/** What auth methods have in common: they check who logs in, and say what binding rules may be about. */
import type { FilterFields } from '../../codec/index.ts';

/** What a login is known by. */
export interface Identity {
  /** What selectors of binding rules look at, by the fields of the validator. */
  readonly selectable: Readonly<Record<string, unknown>>;
  /** What their names may be made of. */
  readonly variables: Readonly<Record<string, string>>;
}

/** Checks logins of one auth method. */
export interface Validator {
  readonly fields: FilterFields;
  /** Names of the variables that every identity has. */
  readonly variables: readonly string[];
  /** What takes asking others, done when a method is set. @throws CallError the configuration does not work. */
  check(): Promise<void>;
  /** @throws CallError who logs in is not who he says. */
  validate(bearer: string, nowMs: number): Promise<Identity>;
}
