/** What a filter expression may be about: the fields of a kind of record, as far as they can be selected. */

/**
 * Type of one selectable field: a scalar, a list of strings, a map to strings or to lists of them, or a structure, list of structures or
 * map of structures with fields of their own.
 */
export type FilterField =
  | 'string'
  | 'bool'
  | 'int'
  | 'strings'
  | 'string-map'
  | 'strings-map'
  | { readonly struct: FilterFields }
  | { readonly list: FilterFields }
  | { readonly map: FilterFields };

export type FilterFields = Readonly<Record<string, FilterField>>;
