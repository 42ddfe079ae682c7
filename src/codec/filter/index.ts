export { compileFilter, type Filter } from './compile.ts';
export { FilterError } from './syntax.ts';
