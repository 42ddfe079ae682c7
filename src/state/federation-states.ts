/** FederationState: what is known of each datacenter of a federation, one row each (reference/raft.md §4.2, §6.8). */
import { CallError, type FederationState, type FederationStateRequest } from '../model/index.ts';
import type { IndexRows } from './index-rows.ts';
import { RowTable } from './row-table.ts';
import type { Answer } from './store.ts';
import type { Transaction } from './transaction.ts';

type WatchList = string[] | undefined;

const keyOf = (datacenter: string): string => datacenter.toLowerCase();

export class FederationStateTable {
  readonly #table: RowTable<FederationState>;

  constructor(rows: IndexRows) {
    this.#table = new RowTable('federation-states', rows, ({ Datacenter }) => keyOf(Datacenter));
  }

  /** All of them by datacenter; the same array until one changes. */
  list(watch?: WatchList): Answer<readonly FederationState[]> {
    watch?.push(this.#table.watchKey);
    return { index: this.#table.index, result: this.#table.list };
  }

  get(datacenter: string, watch?: WatchList): Answer<FederationState | undefined> {
    const key = keyOf(datacenter);
    watch?.push(this.#table.rowWatchKey(key));
    return { index: this.#table.index, result: this.#table.get(key) };
  }

  /** A row of a snapshot, as it is. */
  restore(tx: Transaction, state: FederationState): void {
    this.#table.put(tx, Object.freeze(state));
  }

  apply(tx: Transaction, { Op, State }: FederationStateRequest): boolean | null {
    if (State.Datacenter === '') throw new CallError('missing datacenter on federation state');
    const before = this.#table.get(keyOf(State.Datacenter));
    switch (Op) {
      case 'upsert':
        this.#table.put(
          tx,
          Object.freeze({
            ...State,
            // Nobody has replicated it: it is the primary datacenter's own.
            PrimaryModifyIndex: State.PrimaryModifyIndex || tx.index,
            CreateIndex: before?.CreateIndex ?? tx.index,
            ModifyIndex: tx.index,
          }),
        );
        return true;
      case 'delete':
        this.#table.remove(tx, keyOf(State.Datacenter));
        return null;
      default:
        throw new CallError(`invalid federation state operation type: ${Op as string}`);
    }
  }
}

export function applyFederationState(
  { federationStates }: { readonly federationStates: FederationStateTable },
  tx: Transaction,
  request: FederationStateRequest,
): boolean | null {
  return federationStates.apply(tx, request);
}
