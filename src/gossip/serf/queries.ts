/**
 * A query is a question to all members, or to those that a filter chooses. The question spreads as gossip; whoever is
 * meant answers straight to the asker, and, because a single packet may be lost, on request also by way of a few
 * others. Both sides forget the question when its time is over (reference/gossip.md §5.6, §5.9).
 */
import { compileGoRegexp, decodeShape, encodeShape, GoRegexpError, MsgpackError } from '../../codec/index.ts';
import { type Member, memberStatus } from '../../model/index.ts';
import type { Clock, Logger, Metrics, Random, Timer } from '../../ports/index.ts';
import type { Memberlist } from '../memberlist/index.ts';
import { toEndpoint } from './address.ts';
import { type QueryEvent, SerfError } from './events.ts';
import type { LamportClock } from './lamport-clock.ts';
import {
  ackFlag,
  decodeRelay,
  encodeMessage,
  encodeRelay,
  filterType,
  messageType,
  nodesFilter,
  query,
  queryFlag,
  type QueryMessage,
  queryResponse,
  type QueryResponseMessage,
  tagFilter,
  withType,
} from './messages.ts';
import type { MemberTable } from './member-table.ts';
import { RecentMessages } from './recent-messages.ts';

/** Default time of a query: so many gossip intervals, and as many times more as the pool has digits. */
const timeoutMultiplier = 16;
/** Questions of our own that wait for answers at a time. */
const openQueriesMax = 1024;
/** Answers, and acks, that one question takes. */
const answersMax = 65_536;
/** Members relay since this version of memberlist's protocol. */
const relayProtocol = 5;
const relayFactorMax = 255;
/** Names of the questions that serf asks itself begin so; they are never delivered. */
export const internalQueryPrefix = '_serf_';

export interface QueryParameters {
  /** Only these nodes; all when missing or empty. */
  readonly nodes?: readonly string[];
  /** Only nodes whose tags match these regular expressions (RE2, unanchored). */
  readonly tags?: Readonly<Record<string, string>>;
  /** Whether members are to say that the question has arrived. */
  readonly wantsAcks?: boolean;
  /** Copies of each answer that go by way of other members, 0 to 255. */
  readonly relayFactor?: number;
  /** Default: grows with the pool, 3.2 s in a small one. */
  readonly timeoutMs?: number;
  readonly onAck?: (from: string) => void;
  readonly onResponse?: (response: QueryResponse) => void;
}

export interface QueryResponse {
  readonly from: string;
  readonly payload: Uint8Array;
}

/** A question of ours on its way. */
export interface QueryHandle {
  readonly id: number;
  readonly lTime: number;
  /** Monotonic ms. */
  readonly deadlineMs: number;
  /** Who has said that it arrived, in order; one each. */
  readonly acks: readonly string[];
  /** Answers in order; one of each member. */
  readonly responses: readonly QueryResponse[];
  /** Resolves when the time is over, or with {@link close}. */
  readonly finished: Promise<void>;
  /** No further answers, please. */
  close(): void;
}

/** A question of somebody that we may answer. */
export interface ReceivedQuery extends QueryEvent {
  /** Whether an answer of this payload is short enough. */
  fits(payload: Uint8Array): boolean;
}

export class Queries {
  readonly #self: string;
  readonly #memberlist: Memberlist;
  readonly #table: MemberTable;
  readonly #lamport: LamportClock;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  readonly #tags: () => Readonly<Record<string, string>>;
  readonly #gossipIntervalMs: number;
  readonly #queryBytesMax: number;
  readonly #responseBytesMax: number;
  readonly #spread: (message: Uint8Array) => void;
  readonly #deliver: (received: ReceivedQuery) => void;
  readonly #recent = new RecentMessages<number>((a, b) => a === b);
  /** Ours, by Lamport time. */
  readonly #open = new Map<number, OpenQuery>();

  constructor(options: {
    readonly self: string;
    readonly memberlist: Memberlist;
    readonly table: MemberTable;
    readonly lamport: LamportClock;
    readonly clock: Clock;
    readonly random: Random;
    readonly logger: Logger;
    readonly metrics: Metrics;
    /** Tags of this node. */
    readonly tags: () => Readonly<Record<string, string>>;
    readonly gossipIntervalMs: number;
    readonly queryBytesMax: number;
    readonly responseBytesMax: number;
    /** Queues a message for gossip. */
    readonly spread: (message: Uint8Array) => void;
    readonly deliver: (received: ReceivedQuery) => void;
  }) {
    this.#self = options.self;
    this.#memberlist = options.memberlist;
    this.#table = options.table;
    this.#lamport = options.lamport;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#logger = options.logger;
    this.#metrics = options.metrics;
    this.#tags = options.tags;
    this.#gossipIntervalMs = options.gossipIntervalMs;
    this.#queryBytesMax = options.queryBytesMax;
    this.#responseBytesMax = options.responseBytesMax;
    this.#spread = options.spread;
    this.#deliver = options.deliver;
  }

  /** Questions of earlier Lamport times are not wanted. */
  ignoreBefore(lTime: number): void {
    this.#recent.ignoreBefore(lTime);
  }

  /** Time that a question gets by default, ms. */
  get defaultTimeoutMs(): number {
    const digits = Math.ceil(Math.log10(this.#memberlist.numAlive + 1));
    return this.#gossipIntervalMs * timeoutMultiplier * digits;
  }

  /** @throws SerfError when the question is too long, or too many wait. */
  ask(name: string, payload: Uint8Array, parameters: QueryParameters = {}): QueryHandle {
    const { timeoutMs = this.defaultTimeoutMs, wantsAcks = false, relayFactor = 0 } = parameters;
    if (this.#open.size >= openQueriesMax) {
      throw new SerfError(`${openQueriesMax} queries wait for answers already: wait until some are over`);
    }
    if (!(Number.isInteger(relayFactor) && relayFactor >= 0 && relayFactor <= relayFactorMax)) {
      throw new SerfError(`a relay factor is 0 to ${relayFactorMax}, got ${relayFactor}`);
    }
    const { addressBytes, port } = this.#memberlist.localMember;
    const message: QueryMessage = {
      LTime: this.#lamport.time,
      ID: Math.floor(this.#random.next() * 2 ** 32),
      Addr: addressBytes,
      Port: port,
      SourceNode: this.#self,
      Filters: encodeFilters(parameters),
      Flags: wantsAcks ? queryFlag.ack : 0,
      RelayFactor: relayFactor,
      Timeout: Math.round(timeoutMs * 1e6),
      Name: name,
      Payload: payload.length === 0 ? null : payload,
    };
    const encoded = encodeMessage(messageType.query, query, message);
    if (encoded.length > this.#queryBytesMax) {
      throw new SerfError(`query exceeds limit of ${this.#queryBytesMax} bytes`);
    }
    const open = new OpenQuery(message, parameters, this.#clock.monotonicMs() + timeoutMs);
    open.timer = this.#clock.after(timeoutMs, () => open.close());
    this.#open.set(message.LTime, open);
    void open.finished.then(() => this.#open.delete(message.LTime));
    this.#take(message);
    this.#spread(encoded);
    return open;
  }

  /** A question has come. @returns whether others are to be told. @throws MsgpackError */
  take(body: Uint8Array): boolean {
    return this.#take(decodeShape(query, body));
  }

  /** An ack or an answer has come. @throws MsgpackError */
  takeResponse(body: Uint8Array): void {
    this.#takeResponse(decodeShape(queryResponse, body));
  }

  /** Somebody's answer that we are to pass on. @throws MsgpackError */
  takeRelay(body: Uint8Array): void {
    const { header, message } = decodeRelay(body);
    const to = toEndpoint(header.DestAddr.IP, header.DestAddr.Port);
    if (to === null || message.length === 0) throw new MsgpackError('a relay names no address, or has no message');
    this.#memberlist.sendBestEffort(to, message);
  }

  stop(): void {
    for (const open of this.#open.values()) open.close();
  }

  #take(message: QueryMessage): boolean {
    const { LTime, ID, Flags, Filters, Name } = message;
    this.#lamport.witness(LTime);
    if (!this.#recent.take(LTime, ID, this.#lamport.time)) return false;
    this.#metrics.count(['serf', 'queries']);
    if (this.#isForUs(Filters ?? [])) {
      if ((Flags & queryFlag.ack) !== 0) this.#reply(message, this.#response(message, ackFlag, null));
      this.#logger.debug(`serf: query: ${Name}`);
      this.#deliver(this.#received(message));
    }
    return (Flags & queryFlag.noBroadcast) === 0;
  }

  #isForUs(filters: readonly (Uint8Array | null)[]): boolean {
    try {
      return filters.every((filter) => filter !== null && this.#accepts(filter));
    } catch (error) {
      if (!(error instanceof MsgpackError || error instanceof GoRegexpError)) throw error;
      this.#logger.warn('serf: failed to read the filter of a query', { error });
      return false;
    }
  }

  #accepts(filter: Uint8Array): boolean {
    const body = filter.subarray(1);
    switch (filter[0]) {
      case filterType.nodes:
        return decodeShape(nodesFilter, body).includes(this.#self);
      case filterType.tag: {
        const { Tag, Expr } = decodeShape(tagFilter, body);
        return compileGoRegexp(Expr)(this.#tags()[Tag] ?? '');
      }
      default:
        this.#logger.warn('serf: query has a filter of unknown type', { type: filter[0] });
        return false;
    }
  }

  #received(message: QueryMessage): ReceivedQuery {
    const { LTime, ID, Name, Payload, SourceNode, Timeout } = message;
    const deadlineMs = this.#clock.monotonicMs() + Timeout / 1e6;
    let isAnswered = false;
    return {
      type: 'query',
      name: Name,
      payload: Payload ?? new Uint8Array(),
      lTime: LTime,
      id: ID,
      sourceNode: SourceNode,
      deadlineMs,
      fits: (payload) => this.#response(message, 0, payload).length <= this.#responseBytesMax,
      respond: (payload) => {
        const response = this.#response(message, 0, payload);
        if (response.length > this.#responseBytesMax) {
          throw new SerfError(`response exceeds limit of ${this.#responseBytesMax} bytes`);
        }
        if (isAnswered) throw new SerfError('response already sent');
        if (this.#clock.monotonicMs() > deadlineMs) throw new SerfError('response is past the deadline');
        isAnswered = true;
        this.#reply(message, response);
      },
    };
  }

  #response({ LTime, ID }: QueryMessage, Flags: number, Payload: Uint8Array | null): Uint8Array {
    return encodeMessage(messageType.queryResponse, queryResponse, { LTime, ID, From: this.#self, Flags, Payload });
  }

  /** To the asker, and by way of as many others as it wishes. */
  #reply({ SourceNode, Addr, Port, RelayFactor }: QueryMessage, response: Uint8Array): void {
    if (SourceNode === this.#self) {
      // Our own question: a packet to ourselves may not find its way through an address translation.
      this.#clock.after(0, () => this.takeResponse(response.subarray(1)));
      return;
    }
    const to = toEndpoint(Addr, Port);
    if (to === null) {
      this.#logger.warn('serf: query without an address to answer to', { from: SourceNode });
      return;
    }
    this.#memberlist.sendBestEffort(to, response);
    if (RelayFactor === 0 || this.#table.size < RelayFactor + 1) return;
    const relay = encodeRelay({ addressBytes: Addr!, port: Port, name: SourceNode }, response);
    if (relay.length > this.#responseBytesMax) {
      this.#logger.warn(`serf: a relayed response exceeds the limit of ${this.#responseBytesMax} bytes`);
      return;
    }
    for (const { Addr: address, Port: port } of this.#relays(RelayFactor)) {
      this.#memberlist.sendBestEffort({ address, port }, relay);
    }
  }

  #relays(count: number): readonly Member[] {
    const candidates = this.#table.members.filter(
      ({ Name, Status, ProtocolMax }) =>
        Name !== this.#self && Status === memberStatus.alive && ProtocolMax >= relayProtocol,
    );
    const chosen: Member[] = [];
    while (chosen.length < count && candidates.length > 0) {
      const at = Math.floor(this.#random.next() * candidates.length);
      chosen.push(candidates[at]!);
      candidates[at] = candidates.at(-1)!;
      candidates.pop();
    }
    return chosen;
  }

  #takeResponse(response: QueryResponseMessage): void {
    const open = this.#open.get(response.LTime);
    if (open === undefined || open.id !== response.ID) {
      this.#logger.debug('serf: reply for a query that is over or not ours', { from: response.From });
      return;
    }
    open.take(response);
  }
}

class OpenQuery implements QueryHandle {
  readonly id: number;
  readonly lTime: number;
  readonly deadlineMs: number;
  readonly acks: string[] = [];
  readonly responses: QueryResponse[] = [];
  readonly finished: Promise<void>;
  timer: Timer | undefined;
  readonly #parameters: QueryParameters;
  readonly #acked = new Set<string>();
  readonly #responded = new Set<string>();
  #isClosed = false;
  #finish: () => void = () => {};

  constructor({ ID, LTime }: QueryMessage, parameters: QueryParameters, deadlineMs: number) {
    this.id = ID;
    this.lTime = LTime;
    this.deadlineMs = deadlineMs;
    this.#parameters = parameters;
    this.finished = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  take({ From, Flags, Payload }: QueryResponseMessage): void {
    if (this.#isClosed) return;
    const isAck = (Flags & ackFlag) !== 0;
    const seen = isAck ? this.#acked : this.#responded;
    if (seen.has(From) || seen.size >= answersMax) return;
    seen.add(From);
    if (isAck) {
      this.acks.push(From);
      this.#parameters.onAck?.(From);
    } else {
      const response = { from: From, payload: Payload ?? new Uint8Array() };
      this.responses.push(response);
      this.#parameters.onResponse?.(response);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.timer?.cancel();
    this.#finish();
  }
}

/** null when every node is meant: an empty filter would crash an old peer. */
function encodeFilters({ nodes = [], tags = {} }: QueryParameters): readonly Uint8Array[] | null {
  const filters = Object.entries(tags).map(([Tag, Expr]) =>
    withType(filterType.tag, encodeShape(tagFilter, { Tag, Expr })),
  );
  if (nodes.length > 0) filters.unshift(withType(filterType.nodes, encodeShape(nodesFilter, nodes)));
  return filters.length === 0 ? null : filters;
}
