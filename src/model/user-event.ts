/** User events: short messages to every agent of a datacenter, for scripts that wait for them (reference/gossip.md §6.6). */
import type { DCRequest, QueryMeta } from './query.ts';

export interface UserEvent {
  /** UUID. */
  readonly ID: string;
  readonly Name: string;
  readonly Payload: Uint8Array | null;
  /** Regular expressions that say which agents the event is for; "" for all of them. */
  readonly NodeFilter: string;
  readonly ServiceFilter: string;
  /** Narrows ServiceFilter. */
  readonly TagFilter: string;
  readonly Version: number;
  /** Lamport time of the message that brought it; 0 before it was sent. */
  readonly LTime: number;
}

/** Version of the payload's form. */
export const userEventVersion = 1;
/** What the name of an event's message begins with. */
export const userEventPrefix = 'consul:event:';
/** Name and payload of a message together, bytes. */
export const userEventBytesMax = 512;

export interface EventFireRequest extends DCRequest {
  readonly Name: string;
  /** Made by the agent that fires, opaque to the servers. */
  readonly Payload: Uint8Array;
}

export interface UserEventCalls {
  /** Sends an event to every agent of the datacenter; any server does. */
  'Internal.EventFire': { request: EventFireRequest; reply: QueryMeta };
}
