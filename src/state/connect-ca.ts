/** ConnectCA: configuration, root certificates and the built-in provider's key (reference/raft.md §4.2, §6.8). */
import { type CAConfiguration, type CAProviderState, type CARequest, type CARoot, CallError } from '../model/index.ts';
import type { IndexRows } from './index-rows.ts';
import { RowTable } from './row-table.ts';
import type { Answer } from './store.ts';
import type { Transaction } from './transaction.ts';

export class ConnectCaTables {
  readonly #roots: RowTable<CARoot>;
  readonly #providers: RowTable<CAProviderState>;
  #config: CAConfiguration | undefined;

  constructor(rows: IndexRows) {
    this.#roots = new RowTable('connect-ca-roots', rows, ({ ID }) => ID);
    this.#providers = new RowTable('connect-ca-builtin', rows, ({ ID }) => ID);
  }

  /** undefined while Connect was never on. */
  get config(): CAConfiguration | undefined {
    return this.#config;
  }

  /** The built-in provider's state; only the last one written is used. */
  get provider(): CAProviderState | undefined {
    return this.#providers.list.at(-1);
  }

  roots(watch?: string[]): Answer<readonly CARoot[]> {
    watch?.push(this.#roots.watchKey, configWatchKey);
    return { index: Math.max(this.#roots.index, this.#config?.ModifyIndex ?? 0), result: this.#roots.list };
  }

  /** All there is, for a snapshot of the state. */
  snapshot(): {
    readonly config: CAConfiguration | undefined;
    readonly provider: CAProviderState | undefined;
    readonly roots: readonly CARoot[];
  } {
    return { config: this.#config, provider: this.provider, roots: this.#roots.list };
  }

  apply(tx: Transaction, request: CARequest): boolean | null {
    switch (request.Op) {
      case 'set-config':
        this.#setConfig(tx, request.Config);
        return null;
      case 'set-roots': {
        if (request.Roots.filter(({ Active }) => Active).length !== 1) {
          throw new CallError('there must be exactly one active CA');
        }
        const before = new Map(this.#roots.list.map((root) => [root.ID, root]));
        for (const ID of before.keys()) this.#roots.remove(tx, ID);
        for (const root of request.Roots) {
          const CreateIndex = before.get(root.ID)?.CreateIndex ?? tx.index;
          this.#roots.put(tx, Object.freeze({ ...root, CreateIndex, ModifyIndex: tx.index }));
        }
        return true;
      }
      case 'set-provider-state':
        for (const { ID } of this.#providers.list) this.#providers.remove(tx, ID);
        this.#providers.put(tx, Object.freeze({ ...request.ProviderState }));
        return true;
    }
  }

  #setConfig(tx: Transaction, config: Extract<CARequest, { readonly Op: 'set-config' }>['Config']): void {
    const before = this.#config;
    this.#config = Object.freeze({
      ...config,
      ClusterID: config.ClusterID || (before?.ClusterID ?? ''),
      CreateIndex: before?.CreateIndex ?? tx.index,
      ModifyIndex: tx.index,
    });
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
): boolean | null {
  return connectCa.apply(tx, request);
}

/** Only the index is wanted. */
export function applyCaLeaf(_tables: object, tx: Transaction): number {
  return tx.index;
}
