/** ConnectCA: configuration, root certificates and the built-in provider's key (reference/raft.md §4.2, §6.8). */
import { type CAConfiguration, type CAProviderState, type CARequest, type CARoot, CallError } from '../model/index.ts';
import type { IndexRows } from './index-rows.ts';
import { RowTable } from './row-table.ts';
import type { Answer } from './store.ts';
import type { Transaction } from './transaction.ts';

type GivenConfig = Extract<CARequest, { readonly Op: 'set-config' }>['Config'];
type GivenRoots = Extract<CARequest, { readonly Op: 'set-roots' }>['Roots'];

const rootsTable = 'connect-ca-roots';
const providerTable = 'connect-ca-builtin';
/** Last serial number given to a certificate of the provider. */
const serialRow = 'connect-ca-builtin-serial';

export class ConnectCaTables {
  readonly #rows: IndexRows;
  readonly #roots: RowTable<CARoot>;
  readonly #providers: RowTable<CAProviderState>;
  #config: CAConfiguration | undefined;

  constructor(rows: IndexRows) {
    this.#rows = rows;
    this.#roots = new RowTable(rootsTable, rows, ({ ID }) => ID);
    this.#providers = new RowTable(providerTable, rows, ({ ID }) => ID);
  }

  /** undefined while Connect was never on. */
  get config(): CAConfiguration | undefined {
    return this.#config;
  }

  /** The built-in provider's state: the one written last, as a rotation keeps the old one for a moment. */
  get provider(): CAProviderState | undefined {
    return this.#providers.list.toSorted((a, b) => (a.ModifyIndex ?? 0) - (b.ModifyIndex ?? 0)).at(-1);
  }

  roots(watch?: string[]): Answer<readonly CARoot[]> {
    watch?.push(this.#roots.watchKey, configWatchKey);
    return { index: Math.max(this.#roots.index, this.#config?.ModifyIndex ?? 0), result: this.#roots.list };
  }

  /** All there is, for a snapshot of the state. */
  snapshot(): {
    readonly config: CAConfiguration | undefined;
    readonly providers: readonly CAProviderState[];
    readonly roots: readonly CARoot[];
  } {
    return { config: this.#config, providers: this.#providers.list, roots: this.#roots.list };
  }

  /** Rows of a snapshot, as they are. */
  restoreConfig(tx: Transaction, config: CAConfiguration): void {
    this.#putConfig(tx, config);
  }

  restoreRoot(tx: Transaction, root: CARoot): void {
    this.#roots.put(tx, Object.freeze(root));
  }

  restoreProvider(tx: Transaction, state: CAProviderState): void {
    this.#providers.put(tx, Object.freeze(state));
  }

  apply(tx: Transaction, request: CARequest): boolean | number | null {
    switch (request.Op) {
      case 'set-config':
        if ((request.Config.ModifyIndex ?? 0) !== 0) return this.#setConfigIfSame(tx, tx.index, request.Config);
        this.#setConfig(tx, tx.index, request.Config);
        return null;
      case 'set-roots':
        return this.#setRoots(tx, request.Roots, request.Index ?? 0);
      case 'set-roots-config':
        if (!this.#setRoots(tx, request.Roots, request.Index ?? 0)) return false;
        // The peer's own arithmetic, visible in the record (reference/raft.md §8).
        return this.#setConfigIfSame(tx, tx.index + 1, request.Config);
      case 'set-provider-state': {
        const { ProviderState } = request;
        const CreateIndex = this.#providers.get(ProviderState.ID)?.CreateIndex ?? tx.index;
        this.#providers.put(tx, Object.freeze({ ...ProviderState, CreateIndex, ModifyIndex: tx.index }));
        return true;
      }
      case 'delete-provider-state': {
        // The table's index stays where it is (reference/raft.md §6.2).
        const before = this.#rows.get(providerTable);
        this.#providers.remove(tx, request.ProviderState.ID);
        this.#rows.set(tx, providerTable, before);
        return true;
      }
      case 'increment-provider-serial': {
        const next = (this.#rows.get(serialRow) || this.#rows.get(providerTable)) + 1;
        this.#rows.set(tx, serialRow, next);
        return next;
      }
      default:
        throw new CallError(`Invalid CA operation '${(request as { readonly Op: string }).Op}'`);
    }
  }

  /** Replaces them all, if nobody else has since `index`. */
  #setRoots(tx: Transaction, roots: GivenRoots, index: number): boolean {
    if (roots.filter(({ Active }) => Active).length !== 1) throw new CallError('there must be exactly one active CA');
    if (this.#rows.get(rootsTable) !== index) return false;
    const before = new Map(this.#roots.list.map((root) => [root.ID, root]));
    for (const ID of before.keys()) this.#roots.remove(tx, ID);
    for (const root of roots) {
      const CreateIndex = before.get(root.ID)?.CreateIndex ?? tx.index;
      this.#roots.put(tx, Object.freeze({ ...root, CreateIndex, ModifyIndex: tx.index }));
    }
    return true;
  }

  #setConfigIfSame(tx: Transaction, index: number, config: GivenConfig): boolean {
    if ((this.#config?.ModifyIndex ?? 0) !== (config.ModifyIndex ?? 0)) return false;
    this.#setConfig(tx, index, config);
    return true;
  }

  #setConfig(tx: Transaction, index: number, config: GivenConfig): void {
    const before = this.#config;
    this.#putConfig(tx, {
      ...config,
      ClusterID: config.ClusterID || (before?.ClusterID ?? ''),
      CreateIndex: before?.CreateIndex ?? index,
      ModifyIndex: index,
    });
  }

  #putConfig(tx: Transaction, config: CAConfiguration): void {
    const before = this.#config;
    this.#config = Object.freeze(config);
    tx.touch(configWatchKey);
    tx.onRollback(() => {
      this.#config = before;
    });
  }
}

const configWatchKey = 'table:connect-ca-config';

export function applyConnectCa(
  { connectCa }: { readonly connectCa: ConnectCaTables },
  tx: Transaction,
  request: CARequest,
): boolean | number | null {
  return connectCa.apply(tx, request);
}

/** Only the index is wanted. */
export function applyCaLeaf(_tables: object, tx: Transaction): number {
  return tx.index;
}
