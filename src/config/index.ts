export { FlagError, parseFlags } from './flags.ts';
export type { FlagKind, FlagTable, FlagValue, FlagValues, ParsedFlags } from './flags.ts';
