export { type AliasedCheck, type AliasSource, type AliasView } from './alias.ts';
export {
  type Checks,
  type ChecksDeps,
  type ChecksOptions,
  CheckTypeError,
  createChecks,
  type InitialState,
  runsMaxPerType,
} from './checks.ts';
export { outputBytesDefault } from './output.ts';
export { intervalMsMin } from './schedule.ts';
export type { CheckTls } from './tls-options.ts';
