/**
 * Gathers events for listeners that act seldom: of a member only the last thing that happened to it counts, of a user
 * event only the newest. What was gathered goes out when nothing has come for a while, or when the first of them has
 * waited long enough. Purely local: the pool sees every message (reference/gossip.md §5.12).
 */
import type { Member } from '../../model/index.ts';
import type { Clock, Timer } from '../../ports/index.ts';
import type { MemberEvent, MemberEventType, SerfEvent, UserEventMessage } from './events.ts';

/** As the serf agent's: longest wait of the first event, and the quiet after which they all go out, ms. */
export const coalesceQuantumMs = 3000;
export const coalesceQuietMs = 1000;

export class EventCoalescer {
  readonly #clock: Clock;
  readonly #deliver: (event: SerfEvent) => void;
  readonly #members = new Map<string, { readonly type: MemberEventType; readonly member: Member }>();
  /** What was last delivered of each member, to leave out what only flapped. */
  readonly #delivered = new Map<string, MemberEventType>();
  readonly #userEvents = new Map<string, UserEventMessage[]>();
  #quantum: Timer | undefined;
  #quiet: Timer | undefined;

  constructor(clock: Clock, deliver: (event: SerfEvent) => void) {
    this.#clock = clock;
    this.#deliver = deliver;
  }

  /** Takes an event; queries and user events that must not wait go on at once. */
  push(event: SerfEvent): void {
    if (event.type === 'query' || (event.type === 'user' && !event.coalesce)) {
      this.#deliver(event);
      return;
    }
    if (event.type === 'user') this.#keepNewest(event);
    else for (const member of event.members) this.#members.set(member.Name, { type: event.type, member });
    this.#quantum ??= this.#clock.after(coalesceQuantumMs, () => this.flush());
    this.#quiet?.cancel();
    this.#quiet = this.#clock.after(coalesceQuietMs, () => this.flush());
  }

  /** Delivers what was gathered. */
  flush(): void {
    this.#quantum?.cancel();
    this.#quiet?.cancel();
    this.#quantum = this.#quiet = undefined;
    const byType = new Map<MemberEventType, Member[]>();
    for (const [name, { type, member }] of this.#members) {
      if (this.#delivered.get(name) === type && type !== 'member-update') continue;
      if (type === 'member-reap') this.#delivered.delete(name);
      else this.#delivered.set(name, type);
      const members = byType.get(type);
      if (members === undefined) byType.set(type, [member]);
      else members.push(member);
    }
    const userEvents = [...this.#userEvents.values()].flat();
    this.#members.clear();
    this.#userEvents.clear();
    for (const [type, members] of byType) this.#deliver({ type, members } satisfies MemberEvent);
    for (const event of userEvents) this.#deliver(event);
  }

  /** Two events of one name and time are two events. */
  #keepNewest(event: UserEventMessage): void {
    const kept = this.#userEvents.get(event.name);
    const newest = kept?.[0]?.lTime ?? 0;
    if (event.lTime > newest) this.#userEvents.set(event.name, [event]);
    else if (event.lTime === newest) kept!.push(event);
  }
}
