/**
 * One key of the KV store as a single object, with Consul's rules of sets, locks and indexes (http-api KV, raft §6.5).
 * Every write of a history has a value of its own, and no write is repeated, so that a state is told by its value.
 *
 * Writes do not tell the index that they were given; reads do. So a state knows its index once somebody has read it,
 * and until then only that it is higher than every earlier one. A cas compares with an index that its client has read:
 * if nobody has read the present state, it was another state, and the cas fails.
 */
import type { Model, Operation } from './linearizability.ts';

export type KvInput =
  | { readonly kind: 'get' }
  | { readonly kind: 'set'; readonly value: string }
  /** `index` 0: only if the key is absent. */
  | { readonly kind: 'cas'; readonly index: number; readonly value: string }
  | { readonly kind: 'delete' }
  | { readonly kind: 'acquire' | 'release'; readonly session: string; readonly value: string };

/** What a read shows. */
export interface KvPair {
  readonly value: string;
  readonly session: string;
  readonly lockIndex: number;
  readonly index: number;
}

/** Of a read the pair or null; of a write whether it was done. */
export type KvOutput = { readonly pair: KvPair | null } | { readonly done: boolean };

export type KvOperation = Operation<KvInput, KvOutput> & { readonly key: string; readonly client: string };

export interface KvState {
  /** Null: absent. */
  readonly value: string | null;
  /** Who holds the lock, "" for nobody. */
  readonly session: string;
  readonly lockIndex: number;
  /** ModifyIndex, once read. */
  readonly index: number | undefined;
  /** The highest index that an earlier state was seen with. */
  readonly floor: number;
}

const absent: KvState = { value: null, session: '', lockIndex: 0, index: undefined, floor: 0 };

export const kvModel: Model<KvState, KvInput, KvOutput> = {
  initial: absent,
  keyOf: ({ value, session, lockIndex, index, floor }) => `${value} ${session} ${lockIndex} ${index ?? '?'} ${floor}`,
  step: (state, input, output) => {
    if (input.kind === 'get') {
      if (output === undefined) return state;
      return 'pair' in output ? read(state, output.pair) : undefined;
    }
    const after = write(state, input);
    if (output !== undefined && (!('done' in output) || output.done !== (after !== undefined))) return undefined;
    return after ?? state;
  },
};

function read(state: KvState, pair: KvPair | null): KvState | undefined {
  if (pair === null) return state.value === null ? state : undefined;
  const { value, session, lockIndex, index } = pair;
  if (value !== state.value || session !== state.session || lockIndex !== state.lockIndex) return undefined;
  if (state.index === undefined ? index <= state.floor : index !== state.index) return undefined;
  return { ...state, index };
}

/** @returns the state after the write; undefined when it is refused */
function write(state: KvState, input: Exclude<KvInput, { kind: 'get' }>): KvState | undefined {
  const { session, lockIndex } = state;
  const older = { index: undefined, floor: state.index ?? state.floor };
  switch (input.kind) {
    case 'set':
      return { value: input.value, session, lockIndex: 0, ...older };
    case 'cas': {
      const fits = input.index === 0 ? state.value === null : input.index === state.index;
      return fits ? { value: input.value, session, lockIndex: 0, ...older } : undefined;
    }
    case 'delete':
      return { ...absent, ...older };
    case 'acquire':
      if (session !== '' && session !== input.session) return undefined;
      return {
        value: input.value,
        session: input.session,
        lockIndex: session === '' ? lockIndex + 1 : lockIndex,
        ...older,
      };
    case 'release':
      return session === input.session ? { value: input.value, session: '', lockIndex, ...older } : undefined;
  }
}
