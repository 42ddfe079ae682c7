export * from './catalog.ts';
export * from './calls.ts';
export * from './definition.ts';
export * from './filter-fields.ts';
export type * from './interface-address.ts';
export * from './kv.ts';
export * from './member.ts';
export * from './query.ts';
export * from './validate-definition.ts';
