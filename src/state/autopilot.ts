/** Autopilot: its settings, one row without an index row of its own (reference/raft.md §6.1, §6.8). */
import type { AutopilotConfig, AutopilotSetConfigRequest } from '../model/index.ts';
import type { Transaction } from './transaction.ts';

export class AutopilotRow {
  #config: AutopilotConfig | undefined;

  /** undefined until a leader has written the first. */
  get config(): AutopilotConfig | undefined {
    return this.#config;
  }

  /** The row of a snapshot, as it is. */
  restore(config: AutopilotConfig): void {
    this.#config = Object.freeze(config);
  }

  put(tx: Transaction, config: AutopilotConfig): void {
    const before = this.#config;
    this.#config = Object.freeze({
      ...config,
      CreateIndex: before?.CreateIndex ?? tx.index,
      ModifyIndex: tx.index,
    });
    tx.onRollback(() => {
      this.#config = before;
    });
  }
}

/** @returns with CAS whether it was written, which needs a row with the same index; else null. */
export function applyAutopilot(
  { autopilot }: { readonly autopilot: AutopilotRow },
  tx: Transaction,
  { CAS, Config }: AutopilotSetConfigRequest,
): boolean | null {
  if (CAS && autopilot.config?.ModifyIndex !== Config.ModifyIndex) return false;
  autopilot.put(tx, Config);
  return CAS ? true : null;
}
