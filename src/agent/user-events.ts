/**
 * User events: short messages to all nodes, or to those that a filter names. Every agent judges for itself whether an
 * event is for it, and remembers the last ones, which is what watchers ask for (reference/http-api.md §9.8,
 * reference/server-rpc.md §2.7).
 */
import { compileGoRegexp, decodeUserEvent, encodeUserEvent, GoRegexpError, UserEventError } from '../codec/index.ts';
import type { UserEventMessage } from '../gossip/index.ts';
import type { EventDoor } from '../http/index.ts';
import {
  CallError,
  type NamedCaller,
  type NodeService,
  type UserEvent,
  userEventPrefix,
  userEventVersion,
  type WriteRequest,
} from '../model/index.ts';
import type { Logger, Random } from '../ports/index.ts';
import { remoteExecEvent } from './remote-exec.ts';

/** Events remembered; the oldest goes. */
export const userEventsMax = 256;

export class UserEvents implements EventDoor {
  readonly #nodeName: string;
  readonly #services: () => ReadonlyMap<string, NodeService>;
  readonly #caller: NamedCaller;
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #onRemoteExec: (event: UserEvent) => void;
  readonly #listeners = new Set<() => void>();
  #events: readonly UserEvent[] = [];

  constructor(options: {
    readonly nodeName: string;
    /** Services of this agent by ID. */
    readonly services: () => ReadonlyMap<string, NodeService>;
    readonly caller: NamedCaller;
    readonly random: Random;
    readonly logger: Logger;
    /** Gets the events that ask for a command to be run; they are not remembered. Default: they are passed over. */
    readonly onRemoteExec?: (event: UserEvent) => void;
  }) {
    this.#nodeName = options.nodeName;
    this.#services = options.services;
    this.#caller = options.caller;
    this.#random = options.random;
    this.#logger = options.logger;
    this.#onRemoteExec = options.onRemoteExec ?? (() => undefined);
  }

  /** The events for this node, oldest first; a new array for a new event. */
  get events(): readonly UserEvent[] {
    return this.#events;
  }

  onEvent(callback: () => void): () => void {
    this.#listeners.add(callback);
    return () => {
      this.#listeners.delete(callback);
    };
  }

  async fire(wanted: Omit<UserEvent, 'ID' | 'Version' | 'LTime'>, target: WriteRequest): Promise<UserEvent> {
    const problem = filterProblem(wanted);
    if (problem !== null) throw new CallError(problem);
    const event: UserEvent = { ...wanted, ID: this.#random.uuid(), Version: userEventVersion, LTime: 0 };
    await this.#caller.call('Internal.EventFire', { ...target, Name: event.Name, Payload: encodeUserEvent(event) });
    return event;
  }

  /** Takes a message that reached this node by gossip; what is no event of ours is passed over. */
  receive({ name, payload, lTime }: Pick<UserEventMessage, 'name' | 'payload' | 'lTime'>): void {
    if (!name.startsWith(userEventPrefix)) return;
    try {
      const event: UserEvent = { ...decodeUserEvent(payload), LTime: lTime };
      if (!this.#isForUs(event)) return;
      if (event.Name === remoteExecEvent) this.#onRemoteExec(event);
      else this.#remember(event);
    } catch (error) {
      if (!(error instanceof UserEventError || error instanceof GoRegexpError)) throw error;
      this.#logger.error('failed to decode event', { name, error });
    }
  }

  #remember(event: UserEvent): void {
    this.#events = [...this.#events.slice(1 - userEventsMax), Object.freeze(event)];
    this.#logger.debug('new event', { event_name: event.Name, event_id: event.ID });
    for (const listener of this.#listeners) listener();
  }

  /** @throws GoRegexpError for a filter that some other agent thought fine. */
  #isForUs({ Version, NodeFilter, ServiceFilter, TagFilter }: UserEvent): boolean {
    if (Version > userEventVersion) return false;
    if (NodeFilter !== '' && !compileGoRegexp(NodeFilter)(this.#nodeName)) return false;
    if (ServiceFilter === '') return true;
    const isWanted = compileGoRegexp(ServiceFilter);
    const hasTag = TagFilter === '' ? null : compileGoRegexp(TagFilter);
    for (const [id, { Tags }] of this.#services()) {
      if (isWanted(id) && (hasTag === null || (Tags ?? []).some(hasTag))) return true;
    }
    return false;
  }
}

type Filters = Pick<UserEvent, 'NodeFilter' | 'ServiceFilter' | 'TagFilter'>;

function filterProblem({ NodeFilter, ServiceFilter, TagFilter }: Filters): string | null {
  if (TagFilter !== '' && ServiceFilter === '') return 'Cannot provide tag filter without service filter';
  for (const [kind, pattern] of Object.entries({ node: NodeFilter, service: ServiceFilter, tag: TagFilter })) {
    try {
      compileGoRegexp(pattern);
    } catch (error) {
      if (error instanceof GoRegexpError) return `Invalid ${kind} filter: ${error.message}`;
      throw error;
    }
  }
  return null;
}
