/**
 * A member of a pool: memberlist below finds out who answers and carries bytes; here the bytes get their meaning.
 * This file only puts the mechanisms together and decides what is told to whom; each mechanism has its own file
 * (reference/gossip.md §5).
 */
import { decodeShape, MsgpackError } from '../../codec/index.ts';
import { hostPort } from '../../lib/index.ts';
import { type Coordinate, type Member, memberStatus } from '../../model/index.ts';
import {
  type AppendFile,
  type Clock,
  type DatagramNetwork,
  type Endpoint,
  type Logger,
  type Metrics,
  type Random,
  sleep,
  type StreamNetwork,
  type Timer,
} from '../../ports/index.ts';
import {
  BroadcastQueue,
  createMemberlist,
  type JoinResult,
  type Keyring,
  type Memberlist,
  type MemberlistDelegate,
  type MemberlistProfile,
} from '../memberlist/index.ts';
import { EventCoalescer } from './coalesce.ts';
import { CoordinateClient } from './coordinate-client.ts';
import { type MemberEventType, type SerfEvent, SerfError } from './events.ts';
import { answerKeyQuery, KeyManager } from './keys.ts';
import { LamportClock, lamportNext } from './lamport-clock.ts';
import { type Intent, MemberTable, toMember } from './member-table.ts';
import { encodeMessage, joinIntent, leaveIntent, messageType, pushPull, userEvent } from './messages.ts';
import { answerConflictQuery, conflictQuery, keepsName } from './name-conflict.ts';
import { decodePing, encodePing } from './ping.ts';
import { internalQueryPrefix, Queries, type QueryHandle, type QueryParameters, type ReceivedQuery } from './queries.ts';
import { RecentMessages } from './recent-messages.ts';
import { type SerfSettings, serfSettings } from './settings.ts';
import { replaySnapshot, Snapshot } from './snapshot.ts';
import { encodeTags, type Tags } from './tags.ts';

/** Messages a queue holds between two looks at it. */
const queueLengthMax = 32_768;
/** Members that a leaving one tells itself: all of a small pool, of a large one no more packets than a busy second has. */
const goodbyesMax = 64;
/** No setting allows a longer user event, bytes: it has to fit a packet. */
const userEventBytesHardMax = 9 * 1024;

export interface SerfOptions {
  /** Unique in the pool. */
  readonly nodeName: string;
  readonly tags: Tags;
  /** Where to listen, packets and streams alike; port 0 takes a free one. */
  readonly bind: Endpoint;
  /** What peers are told; needed when bound to a wildcard address. */
  readonly advertise?: Endpoint;
  /** Timing of memberlist. */
  readonly profile: MemberlistProfile;
  /** Default {@link serfSettings}. */
  readonly settings?: SerfSettings;
  /** Turns encryption on. */
  readonly keyring?: Keyring;
  readonly verifyIncoming?: boolean;
  readonly verifyOutgoing?: boolean;
  /** Networks members may be in; empty or missing allows all. */
  readonly allowedNetworks?: readonly string[];
  /** Looks up a host name for `join`. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
  /** Remembers the pool over a restart. */
  readonly snapshotFile?: AppendFile;
  /** Come back by the snapshot even after a leave. */
  readonly rejoinAfterLeave?: boolean;
  /** Why these members cannot be in our pool, or null. Asked for a joining list as a whole and for every newcomer. */
  readonly mergeProblem?: (members: readonly Member[]) => string | null;
  /** Writes the keyring down after a change. @throws Error which the asker of the change then sees. */
  readonly saveKeyring?: (keys: readonly Uint8Array[]) => Promise<void>;
  /** Whether this node measures, and says, where it stands; default true. */
  readonly coordinates?: boolean;
  /** Gather member events and those user events that allow it; default false. */
  readonly coalesces?: boolean;
  /** Called inside a step of the core; returns at once. */
  readonly onEvent: (event: SerfEvent) => void;
  /** The pool gave our name to another node; this one has shut itself down. */
  readonly onNameLost?: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly datagrams: DatagramNetwork;
  readonly streams: StreamNetwork;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export type SerfState = 'alive' | 'leaving' | 'left' | 'shutdown';

export interface Serf {
  readonly state: SerfState;
  /** Where it listens; valid after `start`. */
  readonly local: Endpoint;
  readonly localMember: Member;
  readonly keys: KeyManager;
  /** Where this node stands, or null when it does not measure. */
  readonly coordinate: Coordinate | null;
  /** Text numbers for `info`, by the peers' names. */
  readonly stats: Readonly<Record<string, string>>;

  /** Binds and begins; goes back to the pool that a snapshot knows, in the background. @throws Error as memberlist. */
  start(): Promise<void>;
  /**
   * Enters the pool that some addresses belong to (`host`, `host:port`, `[v6]:port`, `name/host:port`).
   * @param ignoreOldEvents do not deliver what happened before.
   * @throws SerfError after leave or shutdown.
   */
  join(addresses: readonly string[], ignoreOldEvents: boolean): Promise<JoinResult>;
  /**
   * Says goodbye and waits until the pool knows; a later `shutdown` is not seen as a failure.
   * @throws SerfError when it is leaving already or shut down.
   */
  leave(): Promise<void>;
  /** Stops at once; without `leave` the others see a failure. */
  shutdown(): Promise<void>;
  /** All members, whatever their state; the same array until one changes. */
  members(): readonly Member[];
  member(name: string): Member | undefined;
  /** Members alive or suspect, this one included. */
  readonly numAlive: number;
  /** @throws SerfError when they are too long; Error when they were not spread in time (they still are). */
  setTags(tags: Tags): Promise<void>;
  /** @throws SerfError when it is too long. */
  userEvent(name: string, payload: Uint8Array, coalesce: boolean): void;
  /** @throws SerfError when it is too long, or too many wait for answers. */
  query(name: string, payload: Uint8Array, parameters?: QueryParameters): QueryHandle;
  /**
   * Declares a failed member gone for good. A member that is alive contradicts.
   * @throws SerfError when the message was not spread in time (it still is).
   */
  removeFailedNode(name: string, options?: { readonly prune?: boolean }): Promise<void>;
  /** Where a member, or this node, stood when it was last measured. */
  cachedCoordinate(name: string): Coordinate | undefined;
}

/** Makes a member; nothing happens before `start`. @throws SerfError when the tags do not fit. */
export function createSerf(options: SerfOptions): Serf {
  return new SerfMember(options);
}

interface UserEvent {
  readonly Name: string;
  readonly Payload: Uint8Array | null;
}

class SerfMember implements Serf {
  readonly keys: KeyManager;
  readonly #options: SerfOptions;
  readonly #settings: SerfSettings;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  readonly #memberlist: Memberlist;
  readonly #table: MemberTable;
  readonly #queries: Queries;
  readonly #coordinates: CoordinateClient | undefined;
  readonly #coordinateCache = new Map<string, Coordinate>();
  readonly #memberClock = new LamportClock();
  readonly #eventClock = new LamportClock();
  readonly #queryClock = new LamportClock();
  readonly #events = new RecentMessages<UserEvent>(isSameEvent);
  readonly #intentQueue: BroadcastQueue;
  readonly #queryQueue: BroadcastQueue;
  readonly #eventQueue: BroadcastQueue;
  readonly #deliver: (event: SerfEvent) => void;
  readonly #timers = new Map<string, Timer>();
  #snapshot: Snapshot | undefined;
  #tags: Tags;
  #meta: Uint8Array;
  #state: SerfState = 'alive';
  /** A join that ignores old events is under way. */
  #ignoresOldEvents = false;
  #isResolvingName = false;
  /** Joins one after another: what is ignored is a matter of each. */
  #joining: Promise<unknown> = Promise.resolve();

  constructor(options: SerfOptions) {
    const { nodeName, clock, random, logger, metrics, settings = serfSettings } = options;
    this.#options = options;
    this.#settings = settings;
    this.#clock = clock;
    this.#random = random;
    this.#logger = logger;
    this.#metrics = metrics;
    this.#tags = options.tags;
    this.#meta = encodeTags(options.tags);
    this.#coordinates = options.coordinates === false ? undefined : new CoordinateClient(random);
    const coalescer = options.coalesces === true ? new EventCoalescer(clock, options.onEvent) : undefined;
    this.#deliver = coalescer === undefined ? options.onEvent : (event) => coalescer.push(event);
    this.#memberlist = createMemberlist({
      name: nodeName,
      bind: options.bind,
      ...(options.advertise === undefined ? {} : { advertise: options.advertise }),
      profile: options.profile,
      delegateVersions: settings.delegateVersions,
      delegate: this.#delegate(),
      ...(options.keyring === undefined ? {} : { keyring: options.keyring }),
      verifyIncoming: options.verifyIncoming ?? true,
      verifyOutgoing: options.verifyOutgoing ?? true,
      allowedNetworks: options.allowedNetworks ?? [],
      ...(options.resolve === undefined ? {} : { resolve: options.resolve }),
      clock,
      random,
      datagrams: options.datagrams,
      streams: options.streams,
      logger,
      metrics,
    });
    this.#table = new MemberTable({
      self: nodeName,
      clock,
      logger,
      metrics,
      isLeaving: () => this.#state !== 'alive',
      pruneDelayMs: settings.broadcastTimeoutMs + settings.leavePropagateDelayMs,
      reconnectTimeoutMs: settings.reconnectTimeoutMs,
      tombstoneTimeoutMs: settings.tombstoneTimeoutMs,
      emit: (type, member) => this.#onMember(type, member),
    });
    const queueOptions = {
      retransmitMultiplier: options.profile.retransmitMultiplier,
      memberCount: () => this.#table.size,
      lengthMax: queueLengthMax,
    };
    this.#intentQueue = new BroadcastQueue(queueOptions);
    this.#queryQueue = new BroadcastQueue(queueOptions);
    this.#eventQueue = new BroadcastQueue(queueOptions);
    this.#queries = new Queries({
      self: nodeName,
      memberlist: this.#memberlist,
      table: this.#table,
      lamport: this.#queryClock,
      clock,
      random,
      logger,
      metrics,
      tags: () => this.#tags,
      gossipIntervalMs: options.profile.gossipIntervalMs,
      queryBytesMax: settings.queryBytesMax,
      responseBytesMax: settings.queryResponseBytesMax,
      spread: (message) => this.#queryQueue.queue(message),
      deliver: (received) => this.#onQuery(received),
    });
    this.keys = new KeyManager({
      ask: (name, payload, parameters) => this.#queries.ask(name, payload, parameters),
      numNodes: () => this.#memberlist.numAlive,
    });
  }

  get state(): SerfState {
    return this.#state;
  }

  get local(): Endpoint {
    return this.#memberlist.local;
  }

  get localMember(): Member {
    return this.#table.member(this.#options.nodeName) ?? toMember(this.#memberlist.localMember, memberStatus.alive);
  }

  get numAlive(): number {
    return this.#memberlist.numAlive;
  }

  get coordinate(): Coordinate | null {
    return this.#coordinates?.coordinate ?? null;
  }

  get stats(): Readonly<Record<string, string>> {
    return {
      ...(this.#coordinates === undefined ? {} : { coordinate_resets: String(this.#coordinates.resets) }),
      encrypted: String(this.#memberlist.keyring !== undefined),
      event_queue: String(this.#eventQueue.length),
      event_time: String(this.#eventClock.time),
      failed: String(this.#table.withStatus(memberStatus.failed).length),
      health_score: String(this.#memberlist.healthScore),
      intent_queue: String(this.#intentQueue.length),
      left: String(this.#table.withStatus(memberStatus.left).length),
      member_time: String(this.#memberClock.time),
      members: String(this.#table.size),
      query_queue: String(this.#queryQueue.length),
      query_time: String(this.#queryClock.time),
    };
  }

  async start(): Promise<void> {
    const previous = await this.#openSnapshot();
    await this.#memberlist.start();
    const { reapIntervalMs, reconnectIntervalMs, queueCheckIntervalMs } = this.#settings;
    this.#every('reap', reapIntervalMs, () => this.#table.reap());
    this.#every('reconnect', reconnectIntervalMs, () => void this.#reconnect());
    this.#every('queues', queueCheckIntervalMs, () => this.#checkQueues());
    this.#snapshot?.start();
    if (previous.size > 0) void this.#rejoin(previous);
  }

  join(addresses: readonly string[], ignoreOldEvents: boolean): Promise<JoinResult> {
    return this.#joinNext(async () => {
      if (this.#state !== 'alive') throw new SerfError("Serf can't Join after Leave or Shutdown");
      this.#ignoresOldEvents = ignoreOldEvents;
      try {
        const result = await this.#memberlist.join(addresses);
        if (result.joined > 0) this.#sayJoined();
        return result;
      } finally {
        this.#ignoresOldEvents = false;
      }
    });
  }

  async leave(): Promise<void> {
    if (this.#state === 'left') return;
    if (this.#state === 'leaving') throw new SerfError('Leave already in progress');
    if (this.#state === 'shutdown') throw new SerfError('Leave called after Shutdown');
    this.#state = 'leaving';
    const hadOthers = this.#table.hasOthersAlive;
    const { broadcastTimeoutMs, leavePropagateDelayMs } = this.#settings;
    await this.#snapshot?.leave();
    try {
      await this.#sayLeave(this.#options.nodeName, false);
    } catch (error) {
      this.#logger.warn('serf: timeout while waiting for graceful leave', { error });
    }
    // Sent is not heard: whoever learnt of the end before the goodbye would hold us for failed.
    if (this.#table.hasOthersAlive) await sleep(this.#clock, this.#spreadMs);
    try {
      await this.#memberlist.leave(broadcastTimeoutMs);
    } catch (error) {
      this.#logger.warn('serf: timeout waiting for leave broadcast', { error });
    }
    // Others may be asked about us before they have heard; they shall find us answering. Alone there is nobody to wait for.
    if (hadOthers) await sleep(this.#clock, leavePropagateDelayMs);
    if (this.#state === 'leaving') this.#state = 'left';
  }

  async shutdown(): Promise<void> {
    if (this.#state === 'shutdown') return;
    if (this.#state !== 'left') this.#logger.warn('serf: Shutdown without a Leave');
    this.#state = 'shutdown';
    for (const timer of this.#timers.values()) timer.cancel();
    this.#queries.stop();
    await this.#memberlist.shutdown();
    await this.#snapshot?.stop();
  }

  members(): readonly Member[] {
    return this.#table.members;
  }

  member(name: string): Member | undefined {
    return this.#table.member(name);
  }

  async setTags(tags: Tags): Promise<void> {
    this.#meta = encodeTags(tags);
    this.#tags = tags;
    await this.#memberlist.updateNode(this.#settings.broadcastTimeoutMs);
  }

  userEvent(name: string, payload: Uint8Array, coalesce: boolean): void {
    const { userEventBytesMax } = this.#settings;
    const bytes = Buffer.byteLength(name) + payload.length;
    if (bytes > userEventBytesMax) {
      throw new SerfError(`user event exceeds configured limit of ${userEventBytesMax} bytes before encoding`);
    }
    if (bytes > userEventBytesHardMax) {
      throw new SerfError(`user event exceeds sane limit of ${userEventBytesHardMax} bytes before encoding`);
    }
    const Payload = payload.length === 0 ? null : payload;
    const message = { LTime: this.#eventClock.time, Name: name, Payload, CC: coalesce };
    const encoded = encodeMessage(messageType.userEvent, userEvent, message);
    if (encoded.length > userEventBytesMax) {
      throw new SerfError(`user event exceeds configured limit of ${userEventBytesMax} bytes after encoding`);
    }
    if (encoded.length > userEventBytesHardMax) {
      throw new SerfError(`user event exceeds sane limit of ${userEventBytesHardMax} bytes after encoding`);
    }
    this.#eventClock.take();
    this.#takeUserEvent(message);
    this.#eventQueue.queue(encoded);
  }

  query(name: string, payload: Uint8Array, parameters?: QueryParameters): QueryHandle {
    if (name.startsWith(internalQueryPrefix)) {
      throw new SerfError(`Queries cannot contain the '${internalQueryPrefix}' prefix`);
    }
    return this.#queries.ask(name, payload, parameters);
  }

  async removeFailedNode(name: string, options: { readonly prune?: boolean } = {}): Promise<void> {
    await this.#sayLeave(name, options.prune ?? false);
  }

  cachedCoordinate(name: string): Coordinate | undefined {
    if (name === this.#options.nodeName) return this.#coordinates?.coordinate;
    return this.#coordinateCache.get(name);
  }

  // What memberlist asks and tells.

  #delegate(): Partial<MemberlistDelegate> {
    const { mergeProblem } = this.#options;
    return {
      nodeMeta: () => this.#meta,
      notifyMessage: (message) => this.#onMessage(message),
      broadcasts: (overhead, limit) => this.#broadcasts(overhead, limit),
      localState: () => this.#localState(),
      mergeRemoteState: (state, isJoin) => this.#mergeRemoteState(state, isJoin),
      notifyJoin: (node) => this.#table.joined(node),
      notifyLeave: (node) => this.#table.gone(node),
      notifyUpdate: (node) => this.#table.updated(node),
      notifyConflict: (existing, other) => void this.#onConflict(existing, other),
      ...(mergeProblem === undefined
        ? {}
        : {
            notifyMerge: (peers) =>
              mergeProblem(
                peers.map((peer) => toMember(peer, peer.state === 'left' ? memberStatus.left : memberStatus.none)),
              ),
            notifyAlive: (peer) => mergeProblem([toMember(peer, memberStatus.none)]),
          }),
      ...(this.#coordinates === undefined
        ? {}
        : {
            ackPayload: () => encodePing(this.#coordinates!.coordinate),
            notifyPingComplete: (other, rttMs, payload) => this.#onPing(other.name, rttMs, payload),
          }),
    };
  }

  #onMessage(message: Uint8Array): void {
    const type = message[0];
    const body = message.subarray(1);
    this.#metrics.sample(['serf', 'msgs', 'received'], message.length);
    try {
      switch (type) {
        case messageType.join: {
          const { LTime, Node } = decodeShape(joinIntent, body);
          if (this.#takeIntent({ type: 'join', node: Node, lTime: LTime, prune: false })) {
            this.#intentQueue.queue(message);
          }
          break;
        }
        case messageType.leave: {
          const { LTime, Node, Prune } = decodeShape(leaveIntent, body);
          if (this.#takeIntent({ type: 'leave', node: Node, lTime: LTime, prune: Prune })) {
            this.#intentQueue.queue(message);
          }
          break;
        }
        case messageType.userEvent:
          if (this.#takeUserEvent(decodeShape(userEvent, body))) this.#eventQueue.queue(message);
          break;
        case messageType.query:
          if (this.#queries.take(body)) this.#queryQueue.queue(message);
          break;
        case messageType.queryResponse:
          this.#queries.takeResponse(body);
          break;
        case messageType.relay:
          this.#queries.takeRelay(body);
          break;
        default:
          this.#logger.warn('serf: Received message of unknown type', { type });
      }
    } catch (error) {
      if (!(error instanceof MsgpackError)) throw error;
      this.#logger.error('serf: Error decoding message', { type, error });
    }
  }

  #broadcasts(overhead: number, limit: number): readonly Uint8Array[] {
    const messages: Uint8Array[] = [];
    let free = limit;
    for (const queue of [this.#intentQueue, this.#queryQueue, this.#eventQueue]) {
      for (const message of queue.take(overhead, free)) {
        messages.push(message);
        free -= message.length + overhead;
        this.#metrics.sample(['serf', 'msgs', 'sent'], message.length);
      }
    }
    return messages;
  }

  #localState(): Uint8Array {
    return encodeMessage(messageType.pushPull, pushPull, {
      LTime: this.#memberClock.time,
      StatusLTimes: Object.fromEntries(this.#table.statusTimes()),
      LeftMembers: this.#table.withStatus(memberStatus.left).map(({ Name }) => Name),
      EventLTime: this.#eventClock.time,
      Events: this.#events.slots.map((slot) => (slot === null ? null : { LTime: slot.lTime, Events: slot.messages })),
      QueryLTime: this.#queryClock.time,
    });
  }

  #mergeRemoteState(state: Uint8Array, isJoin: boolean): void {
    if (state[0] !== messageType.pushPull) {
      this.#logger.error('serf: Remote state has bad type prefix', { type: state[0] });
      return;
    }
    let remote;
    try {
      remote = decodeShape(pushPull, state.subarray(1));
    } catch (error) {
      if (!(error instanceof MsgpackError)) throw error;
      this.#logger.error('serf: Failed to decode remote state', { error });
      return;
    }
    // A peer's clock shows the time that it has not used yet.
    this.#memberClock.witness(remote.LTime - 1);
    this.#eventClock.witness(remote.EventLTime - 1);
    this.#queryClock.witness(remote.QueryLTime - 1);
    const left = new Set(remote.LeftMembers);
    for (const node of left) {
      const lTime = lamportNext(remote.StatusLTimes[node] ?? 0);
      this.#takeIntent({ type: 'leave', node, lTime, prune: false });
    }
    for (const [node, lTime] of Object.entries(remote.StatusLTimes)) {
      if (!left.has(node)) this.#takeIntent({ type: 'join', node, lTime, prune: false });
    }
    if (isJoin && this.#ignoresOldEvents) this.#events.ignoreBefore(remote.EventLTime);
    for (const slot of remote.Events) {
      for (const { Name, Payload } of slot?.Events ?? []) {
        this.#takeUserEvent({ LTime: slot!.LTime, Name, Payload, CC: false });
      }
    }
  }

  #onPing(node: string, rttMs: number, payload: Uint8Array): void {
    const coordinates = this.#coordinates!;
    try {
      const other = decodePing(payload);
      if (other === null) return;
      const before = coordinates.coordinate;
      const problem = coordinates.update(node, other, rttMs / 1000);
      if (problem !== null) {
        this.#metrics.count(['serf', 'coordinate', 'rejected']);
        this.#logger.error('serf: Rejected coordinate', { node, problem });
        return;
      }
      const movedMs = Math.abs(coordinates.coordinate.Adjustment - before.Adjustment) * 1000;
      this.#metrics.sample(['serf', 'coordinate', 'adjustment-ms'], movedMs);
      this.#coordinateCache.set(node, Object.freeze(other));
      this.#coordinateCache.set(this.#options.nodeName, coordinates.coordinate);
    } catch (error) {
      if (!(error instanceof MsgpackError || error instanceof SerfError)) throw error;
      this.#logger.error('serf: Failed to decode coordinate from ping', { node, error });
    }
  }

  async #onConflict(
    existing: { readonly name: string; readonly address: string; readonly port: number },
    other: { readonly address: string; readonly port: number },
  ): Promise<void> {
    const { nodeName } = this.#options;
    const { resolvesNameConflicts } = this.#settings;
    const theirs = hostPort(other.address, other.port);
    if (existing.name !== nodeName) {
      const known = hostPort(existing.address, existing.port);
      this.#logger.warn(`serf: Name conflict for '${existing.name}' both ${known} and ${theirs} are claiming`);
      return;
    }
    this.#logger.error(
      `serf: Node name conflicts with another node at ${theirs}. Names must be unique! ` +
        `(Resolution enabled: ${resolvesNameConflicts})`,
    );
    if (!resolvesNameConflicts || this.#isResolvingName) return;
    this.#isResolvingName = true;
    try {
      const { addressBytes, port } = this.#memberlist.localMember;
      const keeps = await keepsName({
        self: nodeName,
        addressBytes,
        port,
        ask: (name, payload) => this.#queries.ask(name, payload),
        logger: this.#logger,
      });
      if (keeps || this.#state === 'shutdown') return;
      await this.shutdown();
      this.#options.onNameLost?.();
    } catch (error) {
      if (!(error instanceof SerfError)) throw error;
      this.#logger.error('serf: Failed to start name resolution', { error });
    } finally {
      this.#isResolvingName = false;
    }
  }

  // What happens to members, events and queries.

  #onMember(type: MemberEventType, member: Member): void {
    if (type === 'member-join') this.#snapshot?.memberAlive(member.Name, hostPort(member.Addr, member.Port));
    else if (type === 'member-leave' || type === 'member-failed') this.#snapshot?.memberGone(member.Name);
    else if (type === 'member-reap') {
      this.#coordinates?.forget(member.Name);
      this.#coordinateCache.delete(member.Name);
    }
    this.#deliver({ type, members: [member] });
  }

  /** @returns whether others are to be told. */
  #takeIntent(intent: Intent): boolean {
    this.#memberClock.witness(intent.lTime);
    const effect = this.#table.intent(intent);
    if (effect === 'refute') {
      this.#logger.debug('serf: Refuting an older leave intent');
      this.#sayJoined();
    }
    return effect === 'spread';
  }

  /** @returns whether it is new. */
  #takeUserEvent(message: UserEvent & { readonly LTime: number; readonly CC: boolean }): boolean {
    const { LTime, Name, Payload, CC } = message;
    this.#eventClock.witness(LTime);
    if (!this.#events.take(LTime, { Name, Payload }, this.#eventClock.time)) return false;
    this.#metrics.count(['serf', 'events']);
    this.#metrics.count(['serf', 'events', Name]);
    this.#snapshot?.sawEvent(LTime);
    this.#deliver({ type: 'user', name: Name, payload: Payload ?? new Uint8Array(), lTime: LTime, coalesce: CC });
    return true;
  }

  #onQuery(received: ReceivedQuery): void {
    this.#snapshot?.sawQuery(received.lTime);
    if (!received.name.startsWith(internalQueryPrefix)) {
      this.#deliver(received);
      return;
    }
    try {
      if (received.name === conflictQuery) answerConflictQuery(received, this.#options.nodeName, this.#table);
      else {
        void answerKeyQuery(received, {
          keyring: this.#memberlist.keyring,
          save: async (keys) => this.#options.saveKeyring?.(keys),
          logger: this.#logger,
        });
      }
    } catch (error) {
      if (!(error instanceof SerfError)) throw error;
      this.#logger.error(`serf: Failed to respond to the query ${received.name}`, { error });
    }
  }

  // What this node says.

  #sayJoined(): void {
    const { nodeName } = this.#options;
    const lTime = this.#memberClock.take();
    this.#table.intent({ type: 'join', node: nodeName, lTime, prune: false });
    this.#intentQueue.queue(encodeMessage(messageType.join, joinIntent, { LTime: lTime, Node: nodeName }));
  }

  /** Gossip misses a member now and then (one in seventy in a pool of nine); who would mind is told at once as well. */
  #tellDirectly(message: Uint8Array): void {
    const { name } = this.#memberlist.localMember;
    const others = this.#memberlist.randomMembers(
      goodbyesMax,
      (other) => other.state === 'alive' && other.name !== name,
    );
    for (const { address, port } of others) this.#memberlist.sendBestEffort({ address, port }, message);
  }

  /** Time in which gossip reaches everybody: as many rounds as doubling takes, which it outruns (three are told a round). */
  get #spreadMs(): number {
    return this.#options.profile.gossipIntervalMs * Math.ceil(Math.log2(this.#memberlist.numAlive + 1));
  }

  /** @throws SerfError when it was not spread in time. */
  async #sayLeave(node: string, prune: boolean): Promise<void> {
    const lTime = this.#memberClock.take();
    if (this.#table.intent({ type: 'leave', node, lTime, prune }) === 'refute') {
      this.#sayJoined();
      return;
    }
    if (!this.#table.hasOthersAlive) return;
    const message = encodeMessage(messageType.leave, leaveIntent, { LTime: lTime, Node: node, Prune: prune });
    if (node === this.#options.nodeName) this.#tellDirectly(message);
    await new Promise<void>((resolve, reject) => {
      const timer = this.#clock.after(this.#settings.broadcastTimeoutMs, () => {
        reject(new SerfError('timed out broadcasting node removal'));
      });
      this.#intentQueue.queue(message, {
        onFinished: () => {
          timer.cancel();
          resolve();
        },
      });
    });
  }

  // What happens by itself.

  /** @returns members that the snapshot knows. */
  async #openSnapshot(): Promise<ReadonlyMap<string, string>> {
    const { snapshotFile: file, rejoinAfterLeave = false } = this.#options;
    if (file === undefined) return new Map();
    const text = await file.read();
    const state = replaySnapshot(text, { rejoinAfterLeave });
    this.#memberClock.witness(state.memberTime);
    this.#eventClock.witness(state.eventTime);
    this.#queryClock.witness(state.queryTime);
    this.#events.ignoreBefore(state.eventTime + 1);
    this.#queries.ignoreBefore(state.queryTime + 1);
    this.#snapshot = new Snapshot({
      file,
      text,
      clock: this.#clock,
      logger: this.#logger,
      rejoinAfterLeave,
      memberClock: () => this.#memberClock.time,
    });
    return state.alive;
  }

  /** Goes back by the first member of old that answers. */
  async #rejoin(previous: ReadonlyMap<string, string>): Promise<void> {
    const { nodeName } = this.#options;
    const candidates = [...previous].filter(([name]) => name !== nodeName);
    while (candidates.length > 0 && this.#state === 'alive') {
      const [[name, address]] = candidates.splice(Math.floor(this.#random.next() * candidates.length), 1) as [
        [string, string],
      ];
      this.#logger.info(`serf: Attempting re-join to previously known node: ${name}: ${address}`);
      const { joined } = await this.#joinNext(() => this.#memberlist.join([`${name}/${address}`]));
      if (joined > 0) {
        this.#logger.info(`serf: Re-joined to previously known node: ${name}: ${address}`);
        return;
      }
    }
    if (this.#state === 'alive' && previous.size > (previous.has(nodeName) ? 1 : 0)) {
      this.#logger.warn('serf: Failed to re-join any previously known node');
    }
  }

  /** Tries a failed member now and then, the more often the more have failed. */
  async #reconnect(): Promise<void> {
    const failed = this.#table.withStatus(memberStatus.failed);
    if (failed.length === 0 || this.#state !== 'alive') return;
    const left = this.#table.withStatus(memberStatus.left).length;
    const probability = failed.length / Math.max(1, this.#table.size - failed.length - left);
    if (this.#random.next() > probability) {
      this.#logger.debug('serf: forgoing reconnect for random throttling');
      return;
    }
    const { Name, Addr, Port } = failed[Math.floor(this.#random.next() * failed.length)]!;
    this.#logger.info(`serf: attempting reconnect to ${Name} ${hostPort(Addr, Port)}`);
    await this.#joinNext(() => this.#memberlist.join([`${Name}/${hostPort(Addr, Port)}`]));
  }

  #checkQueues(): void {
    const { queueDepthMax, queueDepthMin, queueDepthWarning } = this.#settings;
    const lengthMax = queueDepthMin > 0 ? Math.max(queueDepthMin, 2 * this.#table.size) : queueDepthMax;
    for (const [name, queue] of Object.entries({
      Intent: this.#intentQueue,
      Event: this.#eventQueue,
      Query: this.#queryQueue,
    })) {
      this.#metrics.sample(['serf', 'queue', name], queue.length);
      if (queue.length >= queueDepthWarning) this.#logger.warn(`serf: ${name} queue depth: ${queue.length}`);
      if (queue.length > lengthMax) {
        this.#logger.warn(
          `serf: ${name} queue depth (${queue.length}) exceeds limit (${lengthMax}), dropping messages!`,
        );
        queue.prune(lengthMax);
      }
    }
  }

  #joinNext<T>(join: () => Promise<T>): Promise<T> {
    const next = this.#joining.then(join);
    this.#joining = next.catch(() => {});
    return next;
  }

  #every(name: string, intervalMs: number, act: () => void): void {
    this.#timers.set(
      name,
      this.#clock.after(intervalMs, () => {
        this.#every(name, intervalMs, act);
        act();
      }),
    );
  }
}

function isSameEvent(a: UserEvent, b: UserEvent): boolean {
  if (a.Name !== b.Name) return false;
  return Buffer.compare(a.Payload ?? new Uint8Array(), b.Payload ?? new Uint8Array()) === 0;
}
