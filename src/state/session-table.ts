/**
 * The sessions, found by id, by node and by the checks they are bound to. Ids and names match without regard to case
 * (reference/raft.md §6.1).
 */
import type { ByteString } from '../lib/index.ts';
import { CallError, type Session, sessionCheckIds } from '../model/index.ts';
import { OrderedMap } from './ordered-map.ts';
import type { Transaction } from './transaction.ts';
import { isUuid } from './uuid.ts';

/** What became of a session, for those who keep time: the state has no clock. */
export type SessionChange =
  | { readonly kind: 'created'; readonly session: Session }
  /** `heldKeys`: whose locks it held until then. */
  | { readonly kind: 'ended'; readonly session: Session; readonly heldKeys: readonly ByteString[] };

export class SessionTable {
  readonly #byId = new OrderedMap<Session>();
  readonly #byNode = new OrderedMap<Session>();
  readonly #byCheck = new OrderedMap<Session>();
  #list: readonly Session[] | undefined;

  /** All sessions ordered by id; the same array until one changes. */
  get list(): readonly Session[] {
    return (this.#list ??= Object.freeze(this.#byId.values()));
  }

  /** @throws CallError when the id is not a UUID. */
  get(id: string): Session | undefined {
    if (!isUuid(id)) throw new CallError('failed session lookup: index error: UUID must be 36 characters');
    return this.#byId.get(id.toLowerCase());
  }

  ofNode(node: string): readonly Session[] {
    return found(this.#byNode, nodeKey(node, ''));
  }

  ofCheck(node: string, checkId: string): readonly Session[] {
    return found(this.#byCheck, checkKey(node, checkId, ''));
  }

  put(tx: Transaction, session: Session): void {
    const before = this.#byId.get(session.ID.toLowerCase());
    this.#replace(before, session);
    tx.onRollback(() => this.#replace(session, before));
  }

  remove(tx: Transaction, session: Session): void {
    this.#replace(session, undefined);
    tx.onRollback(() => this.#replace(undefined, session));
  }

  #replace(before: Session | undefined, after: Session | undefined): void {
    if (before !== undefined) {
      this.#byId.delete(before.ID.toLowerCase());
      this.#byNode.delete(nodeKey(before.Node, before.ID));
      for (const check of sessionCheckIds(before)) this.#byCheck.delete(checkKey(before.Node, check, before.ID));
    }
    if (after !== undefined) {
      this.#byId.set(after.ID.toLowerCase(), after);
      this.#byNode.set(nodeKey(after.Node, after.ID), after);
      for (const check of sessionCheckIds(after)) this.#byCheck.set(checkKey(after.Node, check, after.ID), after);
    }
    this.#list = undefined;
  }
}

/** NUL stands in no name. */
function nodeKey(node: string, id: string): string {
  return `${node}\0${id}`.toLowerCase();
}

function checkKey(node: string, checkId: string, id: string): string {
  return `${node}\0${checkId}\0${id}`.toLowerCase();
}

function found(map: OrderedMap<Session>, prefix: string): Session[] {
  const sessions: Session[] = [];
  map.forPrefix(prefix, (session) => {
    sessions.push(session);
  });
  return sessions;
}
