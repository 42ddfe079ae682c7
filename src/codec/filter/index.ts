export { compileFilter, type Filter } from './compile.ts';
export type { FilterField, FilterFields } from './fields.ts';
export { FilterError } from './syntax.ts';
