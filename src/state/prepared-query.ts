/**
 * PreparedQuery: create, update or delete a stored query. A query is found by its id, else by its exact name, else by
 * the template with the longest prefix of the name; so no name may be taken twice, nor look like another query's id
 * (reference/raft.md §6.8).
 */
import { CallError, type PreparedQuery, type PreparedQueryRequest } from '../model/index.ts';
import type { IndexRows } from './index-rows.ts';
import { compileQueryTemplate, isTemplate, type RenderQuery } from './query-template.ts';
import { RowTable } from './row-table.ts';
import type { SessionTable } from './session-table.ts';
import type { Answer } from './store.ts';
import type { Transaction } from './transaction.ts';
import { isUuid } from './uuid.ts';

type WatchList = string[] | undefined;

/** The queries by lower-cased name, as far as they have one to be found by. */
interface Names {
  readonly of: readonly PreparedQuery[];
  readonly exact: ReadonlyMap<string, PreparedQuery>;
  readonly templates: ReadonlyMap<string, PreparedQuery>;
  /** Longest name of a template, characters. */
  readonly longest: number;
}

const compiled = new WeakMap<PreparedQuery, RenderQuery>();

export class QueryTable {
  readonly #table: RowTable<PreparedQuery>;
  #names: Names | undefined;

  constructor(rows: IndexRows) {
    this.#table = new RowTable('prepared-queries', rows, ({ ID }) => ID.toLowerCase());
  }

  /** All of them, ordered by id; the same array until one changes. */
  list(watch?: WatchList): Answer<readonly PreparedQuery[]> {
    watch?.push(this.#table.watchKey);
    return { index: this.#table.index, result: this.#table.list };
  }

  /** @throws CallError when the id is not a UUID. */
  get(id: string, watch?: WatchList): Answer<PreparedQuery | undefined> {
    if (!isUuid(id)) throw new CallError('failed prepared query lookup: index error: UUID must be 36 characters');
    const key = id.toLowerCase();
    watch?.push(this.#table.rowWatchKey(key));
    const found = this.#table.get(key);
    return { index: found?.ModifyIndex ?? this.#table.index, result: found };
  }

  /**
   * The query to execute, templates filled in; undefined when there is none.
   * @param segment network segment of the agent that asks.
   * @throws CallError for a template asked for by its id, or that cannot be rendered for this name.
   */
  resolve(idOrName: string, segment: string): PreparedQuery | undefined {
    if (isUuid(idOrName)) {
      const found = this.get(idOrName).result;
      if (found !== undefined && isTemplate(found)) {
        throw new CallError('prepared query templates can only be resolved up by name, not by ID');
      }
      if (found !== undefined) return found;
    }
    const { exact, templates, longest } = this.#byName();
    const name = idOrName.toLowerCase();
    let found = exact.get(name);
    for (let length = Math.min(name.length, longest); found === undefined && length >= 0; length--) {
      found = templates.get(name.slice(0, length));
    }
    return found === undefined || !isTemplate(found) ? found : renderOf(found)(idOrName, segment);
  }

  /** @param sessions to be bound to. */
  apply(tx: Transaction, { Op, Query }: PreparedQueryRequest, sessions: SessionTable): void {
    switch (Op) {
      case 'create':
      case 'update':
        return this.#set(tx, Query, sessions);
      case 'delete':
        return this.#table.remove(tx, Query.ID.toLowerCase());
      default:
        throw new CallError(`Invalid PreparedQuery operation '${Op as string}'`);
    }
  }

  /** A row of a snapshot, as it is. */
  restore(tx: Transaction, query: PreparedQuery): void {
    this.#table.put(tx, Object.freeze(query));
  }

  /** Deletes what is bound to the session. */
  deleteOfSession(tx: Transaction, session: string): void {
    for (const query of this.#table.list) {
      if (query.Session.toLowerCase() === session.toLowerCase()) this.#table.remove(tx, query.ID.toLowerCase());
    }
  }

  #set(tx: Transaction, wanted: PreparedQuery, sessions: SessionTable): void {
    if (wanted.ID === '') throw new CallError('Missing Query ID');
    const before = this.get(wanted.ID).result;
    this.#requireFreeName(wanted);
    if (wanted.Session !== '' && !isUuid(wanted.Session)) {
      throw new CallError('invalid session: index error: UUID must be 36 characters');
    }
    if (wanted.Session !== '' && sessions.get(wanted.Session) === undefined) {
      throw new CallError(`invalid session ${JSON.stringify(wanted.Session)}`);
    }
    const query = Object.freeze({ ...wanted, CreateIndex: before?.CreateIndex ?? tx.index, ModifyIndex: tx.index });
    if (isTemplate(query)) {
      try {
        renderOf(query);
      } catch (error) {
        if (!(error instanceof CallError)) throw error;
        throw new CallError(`failed compiling template: ${error.message}`, { cause: error });
      }
    }
    this.#table.put(tx, query);
  }

  #requireFreeName({ ID, Name, Template }: PreparedQuery): void {
    const { exact, templates } = this.#byName();
    const isOther = (found: PreparedQuery | undefined): boolean =>
      found !== undefined && found.ID.toLowerCase() !== ID.toLowerCase();
    if (Name !== '' && isOther(exact.get(Name.toLowerCase()))) {
      throw new CallError(`name '${Name}' aliases an existing query name`);
    }
    if (Name === '' && Template.Type !== '' && isOther(templates.get(''))) {
      throw new CallError('a query template with an empty name already exists');
    }
    if (isUuid(Name) && this.get(Name).result !== undefined) {
      throw new CallError(`name '${Name}' aliases an existing query ID`);
    }
  }

  #byName(): Names {
    const { list } = this.#table;
    if (this.#names?.of === list) return this.#names;
    const exact = new Map<string, PreparedQuery>();
    const templates = new Map<string, PreparedQuery>();
    let longest = -1;
    for (const query of list) {
      const name = query.Name.toLowerCase();
      if (name !== '') exact.set(name, query);
      if (!isTemplate(query)) continue;
      templates.set(name, query);
      longest = Math.max(longest, name.length);
    }
    return (this.#names = { of: list, exact, templates, longest });
  }
}

function renderOf(query: PreparedQuery): RenderQuery {
  let render = compiled.get(query);
  if (render === undefined) compiled.set(query, (render = compileQueryTemplate(query)));
  return render;
}

export function applyPreparedQuery(
  { queries, sessions }: { readonly queries: QueryTable; readonly sessions: SessionTable },
  tx: Transaction,
  request: PreparedQueryRequest,
): null {
  queries.apply(tx, request, sessions);
  return null;
}
