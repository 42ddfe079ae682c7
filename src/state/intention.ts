/**
 * Intention: create, update or delete one. Source and destination together are unique; what an update leaves out is
 * gone, but for the time of creation (reference/raft.md §6.8).
 */
import {
  CallError,
  compareIntentions,
  type Intention,
  type IntentionRequest,
  intentionText,
  wildcard,
} from '../model/index.ts';
import type { IndexRows } from './index-rows.ts';
import { RowTable } from './row-table.ts';
import type { Answer } from './store.ts';
import type { Transaction } from './transaction.ts';
import { isUuid } from './uuid.ts';

type WatchList = string[] | undefined;

/** The intentions, with what can be asked about them. */
export class IntentionTable {
  readonly #table: RowTable<Intention>;
  #sorted: { readonly of: readonly Intention[]; readonly list: readonly Intention[] } | undefined;

  constructor(rows: IndexRows) {
    this.#table = new RowTable('connect-intentions', rows, ({ ID }) => ID.toLowerCase());
  }

  /** All of them, the most exact first; the same array until one changes. */
  list(watch?: WatchList): Answer<readonly Intention[]> {
    const { list } = this.#table;
    watch?.push(this.#table.watchKey);
    if (this.#sorted?.of !== list) this.#sorted = { of: list, list: Object.freeze(list.toSorted(compareIntentions)) };
    return { index: this.#table.index, result: this.#sorted.list };
  }

  /** @throws CallError when the id is not a UUID. */
  get(id: string, watch?: WatchList): Answer<Intention | undefined> {
    if (!isUuid(id)) throw new CallError('failed intention lookup: index error: UUID must be 36 characters');
    const key = id.toLowerCase();
    watch?.push(this.#table.rowWatchKey(key));
    const found = this.#table.get(key);
    return { index: found?.ModifyIndex ?? this.#table.index, result: found };
  }

  /** Those with `namespace/name`, or a wildcard that covers it, at the given end; the most exact first. */
  match(
    end: 'source' | 'destination',
    { Namespace, Name }: { readonly Namespace: string; readonly Name: string },
    watch?: WatchList,
  ): Answer<readonly Intention[]> {
    const { index, result } = this.list(watch);
    const fits = (own: string, wanted: string): boolean => own === wildcard || own === wanted;
    const covers =
      end === 'source'
        ? (one: Intention) => fits(one.SourceNS, Namespace) && fits(one.SourceName, Name)
        : (one: Intention) => fits(one.DestinationNS, Namespace) && fits(one.DestinationName, Name);
    return { index, result: result.filter(covers) };
  }

  /** A row of a snapshot, as it is. */
  restore(tx: Transaction, intention: Intention): void {
    this.#table.put(tx, Object.freeze(intention));
  }

  apply(tx: Transaction, { Op, Intention: wanted }: IntentionRequest): void {
    switch (Op) {
      case 'create':
      case 'update':
        return this.#set(tx, wanted);
      case 'delete':
        return this.#table.remove(tx, (wanted.ID ?? '').toLowerCase());
      default:
        throw new CallError(`Invalid Intention operation '${Op as string}'`);
    }
  }

  #set(tx: Transaction, wanted: Partial<Intention>): void {
    if (!wanted.ID) throw new CallError('Missing Intention ID');
    const intention = {
      ...emptyIntention,
      ...wanted,
      Meta: wanted.Meta ?? {},
      CreateIndex: tx.index,
      ModifyIndex: tx.index,
    };
    const before = this.get(wanted.ID).result;
    if (before !== undefined) {
      intention.CreateIndex = before.CreateIndex;
      intention.CreatedAt = before.CreatedAt;
    }
    const twin = this.#table.list.find((other) => sameEnds(other, intention));
    if (twin !== undefined && twin.ID !== intention.ID) {
      throw new CallError(`duplicate intention found: ${intentionText(twin)}`);
    }
    this.#table.put(tx, Object.freeze(intention));
  }
}

/** What an intention has where the request says nothing. */
const emptyIntention: Intention = {
  ID: '',
  Description: '',
  SourceNS: '',
  SourceName: '',
  DestinationNS: '',
  DestinationName: '',
  SourceType: '',
  Action: '',
  DefaultAddr: '',
  DefaultPort: 0,
  Meta: null,
  Precedence: 0,
  CreatedAt: '',
  UpdatedAt: '',
  Hash: new Uint8Array(),
  CreateIndex: 0,
  ModifyIndex: 0,
};

/** Names are compared without regard to case, as everywhere in the state. */
function sameEnds(a: Intention, b: Intention): boolean {
  return (['SourceNS', 'SourceName', 'DestinationNS', 'DestinationName'] as const).every(
    (field) => a[field].toLowerCase() === b[field].toLowerCase(),
  );
}

export function applyIntention(
  { intentions }: { readonly intentions: IntentionTable },
  tx: Transaction,
  request: IntentionRequest,
): null {
  intentions.apply(tx, request);
  return null;
}
