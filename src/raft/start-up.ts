/**
 * Start-up is recovery: the newest snapshot that restores, then what the log holds behind it
 * (reference/raft.md §2.3). A log and a snapshot that do not meet are refused, not guessed together.
 */
import type { Logger } from '../ports/index.ts';
import type { IndexedConfiguration } from './configuration-history.ts';
import { type LogEntry, type LogPosition, logStart } from './log-entry.ts';
import type { StateMachine } from './state-machine.ts';
import type { HardState, LogStore, SnapshotMeta, SnapshotStore, StableStore } from './stores.ts';

/** Entries are read in pieces of this size. */
const readBytes = 4 * 1024 * 1024;

export interface Recovered {
  readonly hard: HardState;
  readonly snapshot: (LogPosition & { readonly configuration: IndexedConfiguration }) | undefined;
  readonly logBase: LogPosition;
  readonly log: readonly Pick<LogEntry, 'Index' | 'Term' | 'Type' | 'Data'>[];
}

/** @throws Error when there are snapshots but none restores, or the log starts behind the snapshot's end. */
export async function recover(stores: {
  readonly log: LogStore;
  readonly stable: StableStore;
  readonly snapshots: SnapshotStore;
  readonly stateMachine: StateMachine;
  readonly logger: Logger;
}): Promise<Recovered> {
  const { log } = stores;
  const hard = await stores.stable.read();
  const meta = await restoreNewest(stores);
  const position = meta === undefined ? logStart : { index: meta.Index, term: meta.Term };
  if (log.firstIndex > position.index + 1) {
    throw new Error(
      `the raft log starts at entry ${log.firstIndex} and no snapshot reaches up to it (the newest one ends at ` +
        `${position.index}): move this server's raft directory away and start it again to fetch everything from the others`,
    );
  }
  if (position.index > 0 && !(await continues(log, position))) await log.reset(position.index + 1);
  // The term before the first entry is not on the disk: the first entry takes its place.
  const first = log.firstIndex > 1 ? (await log.read(log.firstIndex, log.firstIndex, 0))[0] : undefined;
  const logBase = first !== undefined && first.Index <= position.index ? positionOf(first) : position;
  return {
    hard,
    snapshot:
      meta === undefined
        ? undefined
        : { ...position, configuration: { index: meta.ConfigurationIndex, configuration: meta.Configuration } },
    logBase: log.firstIndex === 1 ? logStart : logBase,
    log: await readAll(log, log.firstIndex === 1 ? 1 : logBase.index + 1),
  };
}

function positionOf(entry: LogEntry): LogPosition {
  return { index: entry.Index, term: entry.Term };
}

/** Whether the log holds the snapshot's last entry, so that what follows it counts. */
async function continues(log: LogStore, position: LogPosition): Promise<boolean> {
  if (log.lastIndex === 0) return false;
  if (log.firstIndex === position.index + 1) return true;
  if (log.lastIndex < position.index) return false;
  const [entry] = await log.read(position.index, position.index, 0);
  return entry!.Term === position.term;
}

async function readAll(log: LogStore, from: number): Promise<Recovered['log']> {
  const all: Recovered['log'][number][] = [];
  for (let index = from; index <= log.lastIndex;) {
    const entries = await log.read(index, log.lastIndex, readBytes);
    for (const { Index, Term, Type, Data } of entries) all.push({ Index, Term, Type, Data: Type === 0 ? null : Data });
    index += entries.length;
  }
  return all;
}

async function restoreNewest(stores: {
  readonly snapshots: SnapshotStore;
  readonly stateMachine: StateMachine;
  readonly logger: Logger;
}): Promise<SnapshotMeta | undefined> {
  const metas = await stores.snapshots.list();
  for (const meta of metas) {
    try {
      await stores.stateMachine.restore(stores.snapshots.read(meta));
      return meta;
    } catch (error) {
      stores.logger.error('cannot restore a snapshot, trying the one before it', { id: meta.ID, error });
    }
  }
  if (metas.length > 0) throw new Error(`none of the ${metas.length} snapshots in the raft directory can be restored`);
  return undefined;
}
