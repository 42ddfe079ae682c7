/** What Consul's agents tell each other by user events in the LAN pool (reference/gossip.md §6.6). */
import { userEventPrefix } from '../model/index.ts';

/** What the names of all events of Consul's own begin with. */
const consulPrefix = 'consul:';
/** A new leader says its node name; servers look at their members again, agents send all they have. */
export const newLeaderEvent = 'consul:new-leader';

/** What an event's name means: a user's event, a new leader, one of Consul's that we do not know, or none of them. */
export type ConsulEventKind = 'user' | 'new-leader' | 'unknown' | 'foreign';

export function consulEventKind(name: string): ConsulEventKind {
  if (name.startsWith(userEventPrefix)) return 'user';
  if (name === newLeaderEvent) return 'new-leader';
  return name.startsWith(consulPrefix) ? 'unknown' : 'foreign';
}
