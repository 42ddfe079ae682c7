/**
 * A member of a pool: packets and streams come in, are taken apart and go to the mechanism they belong to; four
 * tickers drive probing, gossip and push/pull (reference/gossip.md §4). The mechanisms have their own files; here they
 * are put together.
 */
import type { DatagramSocket, Endpoint, Stream, StreamListener, Timer } from '../../ports/index.ts';
import { AckTable } from './ack-table.ts';
import { addressBytesOf, addressTextOf, isAddress, networkFilter, parseJoinAddress } from './address.ts';
import { Awareness } from './awareness.ts';
import { pushPullScaledMs } from './formulas.ts';
import { compoundPartBytes, crcHeaderBytes, labelBytesMax } from './framing.ts';
import { HandoffQueue } from './handoff-queue.ts';
import type { Keyring } from './keyring.ts';
import type { MemberRecord } from './member-table.ts';
import {
  ack,
  alive,
  dead,
  decodeBody,
  encodeMessage,
  indirectPing,
  messageType,
  nack,
  type Ping,
  ping,
  suspect,
  userMessage,
} from './messages.ts';
import { openPacket, packetBudget, sealPackets, type Security } from './packet.ts';
import { Prober } from './probe.ts';
import { PushPull } from './push-pull.ts';
import { Statements } from './statements.ts';
import { encodeStreamUser, type StreamMessage } from './stream-message.ts';
import { StreamService } from './stream-service.ts';
import { repeat } from './timers.ts';
import {
  type JoinResult,
  type Memberlist,
  type MemberlistDelegate,
  type MemberlistMember,
  type MemberlistOptions,
  metaBytesMax,
} from './types.ts';
import { ownProtocol, protocolStep } from './versions.ts';

/** With port 0 packets and streams must get the same number; so often a free one is tried. */
const bindAttemptsMax = 10;
/** Type byte of a user message in a packet. */
const userOverhead = 1;

/** Makes a member; nothing happens before `start`. @throws Error when the options make no sense. */
export function createMemberlist(options: MemberlistOptions): Memberlist {
  return new Member(options);
}

class Member implements Memberlist {
  readonly #options: MemberlistOptions;
  readonly #delegate: Partial<MemberlistDelegate>;
  readonly #security: Security;
  readonly #statements: Statements;
  readonly #awareness: Awareness;
  readonly #acks: AckTable;
  readonly #prober: Prober;
  readonly #pushPull: PushPull;
  readonly #streams: StreamService;
  readonly #handoff: HandoffQueue<{ readonly type: number; readonly body: Uint8Array }>;
  readonly #tickers: Timer[] = [];
  /** Rejects what waits, at shutdown. */
  readonly #waiting = new Set<(error: Error) => void>();
  #socket: DatagramSocket | undefined;
  #listener: StreamListener | undefined;
  #isShutDown = false;

  constructor(options: MemberlistOptions) {
    const { clock, random, logger, metrics, profile } = options;
    if (options.name === '') throw new Error('memberlist: a member needs a name');
    const label = Buffer.from(options.label ?? '', 'utf8');
    if (label.length > labelBytesMax) throw new Error(`memberlist: the label has more than ${labelBytesMax} bytes`);
    this.#options = options;
    this.#delegate = options.delegate ?? {};
    this.#security = {
      keyring: options.keyring,
      verifyIncoming: options.verifyIncoming ?? true,
      verifyOutgoing: options.verifyOutgoing ?? true,
      label,
    };
    this.#awareness = new Awareness(profile.awarenessMax);
    this.#acks = new AckTable(clock, Math.floor(random.next() * 2 ** 31));
    this.#statements = new Statements({
      name: options.name,
      profile,
      awareness: this.#awareness,
      delegate: this.#delegate,
      isAllowed: networkFilter(options.allowedNetworks ?? []),
      remind: ({ address, port, protocol }, message) =>
        this.#send({ address, port }, [message], protocol.max >= protocolStep.crc),
      clock,
      random,
      logger,
      metrics,
    });
    this.#pushPull = new PushPull({ statements: this.#statements, delegate: this.#delegate, logger, metrics });
    this.#streams = new StreamService({
      security: this.#security,
      timeoutMs: profile.streamTimeoutMs,
      compress: profile.compress,
      serve: (request, remote) => this.#serveStream(request, remote),
      streams: options.streams,
      clock,
      random,
      logger,
    });
    this.#prober = new Prober({
      profile,
      table: this.#statements.table,
      self: () => this.#statements.self,
      acks: this.#acks,
      awareness: this.#awareness,
      delegate: this.#delegate,
      sendDirect: (to, message) => this.#sendDirect(to, message),
      sendBare: (to, messages, { crc }) => this.#send(to, messages, crc),
      streamPing: (to, request, timeoutMs) => this.#streamPing(to, request, timeoutMs),
      onFailed: ({ member }) =>
        this.#statements.suspect({ Incarnation: member.incarnation, Node: member.name, From: options.name }),
      clock,
      random,
      logger,
      metrics,
    });
    this.#handoff = new HandoffQueue(
      clock,
      profile.handoffQueueDepth,
      ({ type, body }, sender) => this.#handleLater(type, body, sender),
      () => metrics.count(['memberlist', 'handoff', 'dropped']),
    );
  }

  get name(): string {
    return this.#options.name;
  }

  get local(): Endpoint {
    if (this.#socket === undefined) throw new Error('memberlist: not started');
    return this.#socket.local;
  }

  get localMember(): MemberlistMember {
    return this.#statements.self.member;
  }

  get keyring(): Keyring | undefined {
    return this.#options.keyring;
  }

  get healthScore(): number {
    return this.#awareness.score;
  }

  get numAlive(): number {
    return this.#statements.table.present;
  }

  get numRecords(): number {
    return this.#statements.table.size;
  }

  get queuedBroadcasts(): number {
    return this.#statements.broadcasts.length;
  }

  members(): readonly MemberlistMember[] {
    return this.#statements.table.all().map(({ member }) => member);
  }

  member(name: string): MemberlistMember | undefined {
    return this.#statements.table.get(name)?.member;
  }

  randomMembers(count: number, accept: (member: MemberlistMember) => boolean): readonly MemberlistMember[] {
    return this.#statements.table.choose(count, ({ member }) => accept(member)).map(({ member }) => member);
  }

  async start(): Promise<void> {
    await this.#bind();
    const advertised = this.#advertised();
    this.#statements.introduceSelf({
      name: this.name,
      address: addressTextOf(advertised.bytes),
      addressBytes: advertised.bytes,
      port: advertised.port,
      meta: this.#meta(),
      state: 'alive',
      protocol: ownProtocol,
      delegate: this.#options.delegateVersions ?? { min: 0, max: 0, current: 0 },
      incarnation: 1,
    });
    this.#statements.introduceKnown(this.#options.knownMembers ?? []);
    const { clock, random, profile } = this.#options;
    this.#prober.start();
    const every = (intervalMs: () => number, tick: () => void): void => {
      this.#tickers.push(repeat(clock, random.next() * intervalMs(), intervalMs, tick));
    };
    every(
      () => profile.gossipIntervalMs,
      () => this.#gossip(),
    );
    if (profile.pushPullIntervalMs > 0) {
      every(
        () => pushPullScaledMs(profile.pushPullIntervalMs, this.numRecords),
        () => this.#startPushPull(),
      );
    }
  }

  async join(addresses: readonly string[]): Promise<JoinResult> {
    let joined = 0;
    const errors: string[] = [];
    for (const text of addresses) {
      let targets: readonly Endpoint[];
      try {
        targets = await this.#resolve(text);
      } catch (error) {
        errors.push(`Failed to resolve ${text}: ${(error as Error).message}`);
        continue;
      }
      for (const target of targets) {
        try {
          await this.#exchangeState(target, true);
          joined++;
        } catch (error) {
          // Sic: without the port, which the reason tells when it matters.
          errors.push(`Failed to join ${target.address}: ${(error as Error).message}`);
        }
      }
    }
    return { joined, errors };
  }

  async leave(timeoutMs: number): Promise<void> {
    if (this.#statements.isLeaving || this.#isShutDown) return;
    const isAlone = this.numAlive <= 1;
    const sent = this.#untilSent(timeoutMs, 'timeout waiting for leave broadcast', (onSent) =>
      this.#statements.leave(onSent),
    );
    if (isAlone) sent.catch(() => {});
    else await sent;
  }

  async updateNode(timeoutMs: number): Promise<void> {
    const meta = this.#meta();
    const isAlone = this.numAlive <= 1;
    const sent = this.#untilSent(timeoutMs, 'timeout waiting for update broadcast', (onSent) =>
      this.#statements.updateSelf(meta, onSent),
    );
    if (isAlone) sent.catch(() => {});
    else await sent;
  }

  async shutdown(): Promise<void> {
    if (this.#isShutDown) return;
    this.#isShutDown = true;
    this.#prober.stop();
    for (const ticker of this.#tickers) ticker.cancel();
    this.#statements.stop();
    this.#acks.clear();
    this.#handoff.clear();
    this.#streams.stop();
    for (const reject of this.#waiting) reject(new Error('memberlist: shut down'));
    this.#socket?.close();
    await this.#listener?.close();
  }

  sendBestEffort(to: Endpoint, message: Uint8Array): void {
    this.#send(to, [userMessage(message)], false);
  }

  async sendReliable(to: Endpoint, message: Uint8Array): Promise<void> {
    await this.#streams.send(to, encodeStreamUser(message));
  }

  // Starting

  async #bind(): Promise<void> {
    const { bind, streams, datagrams } = this.#options;
    for (let attempt = 1; ; attempt++) {
      const listener = await streams.listen(bind, (stream: Stream) => this.#streams.accept(stream));
      try {
        this.#socket = await datagrams.bind({ address: bind.address, port: listener.local.port }, (packet, from) =>
          this.#onPacket(packet, from),
        );
        this.#listener = listener;
        return;
      } catch (error) {
        await listener.close();
        if (bind.port !== 0 || attempt === bindAttemptsMax) throw error;
      }
    }
  }

  #advertised(): { readonly bytes: Uint8Array; readonly port: number } {
    const { advertise, bind } = this.#options;
    const address = advertise?.address ?? bind.address;
    const bytes = addressBytesOf(address);
    if (bytes === undefined) throw new Error(`memberlist: ${JSON.stringify(address)} is no IP address`);
    if (bytes.every((byte) => byte === 0)) {
      throw new Error(`memberlist: ${address} cannot be advertised; set the address at which peers reach this member`);
    }
    return { bytes, port: advertise === undefined || advertise.port === 0 ? this.local.port : advertise.port };
  }

  #meta(): Uint8Array {
    const meta = this.#delegate.nodeMeta?.(metaBytesMax) ?? new Uint8Array();
    if (meta.length > metaBytesMax) {
      throw new Error(`memberlist: the member's meta has ${meta.length} bytes, the limit is ${metaBytesMax}`);
    }
    return meta;
  }

  /** Waits until a broadcast was spread, but not longer than `timeoutMs`. */
  #untilSent(timeoutMs: number, timeoutText: string, queue: (onSent: () => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error: Error | undefined): void => {
        timer.cancel();
        this.#waiting.delete(settle);
        if (error === undefined) resolve();
        else reject(error);
      };
      const timer = this.#options.clock.after(timeoutMs, () => settle(new Error(timeoutText)));
      this.#waiting.add(settle);
      queue(() => settle(undefined));
    });
  }

  // Packets in

  #onPacket(packet: Uint8Array, from: Endpoint): void {
    if (this.#isShutDown) return;
    const { logger, metrics } = this.#options;
    metrics.count(['memberlist', 'udp', 'received'], packet.length);
    const dropped = (problem: string): void => {
      metrics.count(['memberlist', 'udp', 'dropped']);
      logger.debug('dropping a message', { from: from.address, error: problem });
    };
    try {
      openPacket(
        packet,
        this.#security,
        (type, body) => {
          try {
            this.#onMessage(type, body, from);
          } catch (error) {
            dropped((error as Error).message);
          }
        },
        dropped,
      );
    } catch (error) {
      dropped((error as Error).message);
    }
  }

  #onMessage(type: number, body: Uint8Array, from: Endpoint): void {
    switch (type) {
      case messageType.ping:
        this.#prober.servePing(decodeBody(ping, body), from);
        return;
      case messageType.indirectPing: {
        const request = decodeBody(indirectPing, body);
        const target = request.Target;
        if (target === null || !isAddress(target)) throw new Error('an indirect ping without target address');
        const port = request.Port === 0 ? this.local.port : request.Port;
        this.#prober.serveIndirectPing(request, from, { address: addressTextOf(target), port });
        return;
      }
      case messageType.ack: {
        const { SeqNo, Payload } = decodeBody(ack, body);
        this.#acks.ack(SeqNo, Payload ?? new Uint8Array());
        return;
      }
      case messageType.nack:
        this.#acks.nack(decodeBody(nack, body).SeqNo);
        return;
      case messageType.alive:
        this.#handoff.push({ type, body }, from.address, 'urgent');
        return;
      case messageType.suspect:
      case messageType.dead:
      case messageType.user:
        this.#handoff.push({ type, body }, from.address, 'rest');
        return;
      default:
        throw new Error(`msg type (${type}) not supported`);
    }
  }

  #handleLater(type: number, body: Uint8Array, sender: string): void {
    try {
      if (type === messageType.alive) this.#statements.alive(decodeBody(alive, body), sender);
      else if (type === messageType.suspect) this.#statements.suspect(decodeBody(suspect, body));
      else if (type === messageType.dead) this.#statements.dead(decodeBody(dead, body));
      else this.#delegate.notifyMessage?.(body);
    } catch (error) {
      this.#options.logger.debug('dropping a message', { from: sender, error: (error as Error).message });
    }
  }

  // Packets out

  /** Sends one message, with as much gossip behind it as fits. */
  #sendDirect(to: Endpoint, message: Uint8Array): void {
    this.#send(to, [message, ...this.#takeBroadcasts(message.length + compoundPartBytes)], false);
  }

  #send(to: Endpoint, messages: readonly Uint8Array[], crc: boolean): void {
    if (this.#socket === undefined || this.#isShutDown) return;
    const { profile, random, metrics } = this.#options;
    for (const packet of sealPackets(messages, this.#security, { compress: profile.compress, crc, random })) {
      metrics.count(['memberlist', 'udp', 'sent'], packet.length);
      this.#socket.send(packet, to);
    }
  }

  /** Gossip for a packet of which `directBytes` are taken: statements first, then what the layer above has. */
  #takeBroadcasts(directBytes: number): Uint8Array[] {
    const budget = packetBudget(this.#options.profile.packetBytesMax, this.#security, directBytes);
    const messages = this.#statements.broadcasts.take(compoundPartBytes, budget);
    if (this.#delegate.broadcasts === undefined) return messages;
    const left = messages.reduce((left, { length }) => left - length - compoundPartBytes, budget);
    for (const message of this.#delegate.broadcasts(compoundPartBytes + userOverhead, left)) {
      if (message.length > 0) messages.push(userMessage(message));
    }
    return messages;
  }

  #gossip(): void {
    const { clock, profile } = this.#options;
    const nowMs = clock.monotonicMs();
    const isTarget = (record: MemberRecord): boolean =>
      record !== this.#statements.self &&
      (record.isPresent ||
        (record.member.state === 'dead' && nowMs - record.stateChangedMs <= profile.gossipToTheDeadMs));
    for (const { member } of this.#statements.table.choose(profile.gossipNodes, isTarget)) {
      const messages = this.#takeBroadcasts(crcHeaderBytes);
      if (messages.length === 0) return;
      this.#send({ address: member.address, port: member.port }, messages, member.protocol.max >= protocolStep.crc);
    }
  }

  // Streams

  #serveStream(
    request: StreamMessage,
    remote: Endpoint,
  ): { readonly reply: Uint8Array | null; readonly afterReply?: () => void } {
    switch (request.type) {
      case 'pushPull':
        return {
          reply: this.#pushPull.localState(request.join),
          afterReply: () => this.#pushPull.mergeServed(request, remote.address),
        };
      case 'ping': {
        const { Node, SeqNo } = request.ping;
        if (Node !== '' && Node !== this.name) {
          this.#options.logger.warn('got a ping for another node', { node: Node, from: remote.address });
          return { reply: null };
        }
        return { reply: encodeMessage(messageType.ack, ack, { SeqNo, Payload: null }) };
      }
      case 'user':
        return { reply: null, afterReply: () => this.#delegate.notifyMessage?.(request.payload) };
      case 'ack':
      case 'error':
      case 'other':
        this.#options.logger.warn('got a stream message that is no request', {
          from: remote.address,
          type: request.type,
        });
        return { reply: null };
    }
  }

  async #streamPing(to: Endpoint, request: Ping, timeoutMs: number): Promise<boolean> {
    try {
      const reply = await this.#streams.exchange(to, encodeMessage(messageType.ping, ping, request), timeoutMs);
      return reply.type === 'ack' && reply.ack.SeqNo === request.SeqNo;
    } catch {
      return false;
    }
  }

  #startPushPull(): void {
    const { self } = this.#statements;
    const [target] = this.#statements.table.choose(1, (record) => record !== self && record.member.state === 'alive');
    if (target === undefined) return;
    const { address, port } = target.member;
    void this.#exchangeState({ address, port }, false).catch((error: unknown) => {
      if (this.#isShutDown) return;
      this.#options.logger.error('push/pull failed', { node: target.name, error: (error as Error).message });
    });
  }

  async #exchangeState(to: Endpoint, isJoin: boolean): Promise<void> {
    const reply = await this.#streams.exchange(to, this.#pushPull.localState(isJoin));
    if (this.#isShutDown) throw new Error('memberlist: shut down');
    if (reply.type !== 'pushPull') throw new Error(`received invalid msgType (${reply.type})`);
    // The reply repeats our flag, but it is we who know.
    this.#pushPull.merge({ ...reply, join: isJoin });
  }

  async #resolve(text: string): Promise<readonly Endpoint[]> {
    const { host, port } = parseJoinAddress(text, this.local.port);
    if (addressBytesOf(host) !== undefined) return [{ address: host, port }];
    if (this.#options.resolve === undefined) throw new Error('only IP addresses can be joined here');
    const addresses = await this.#options.resolve(host);
    if (addresses.length === 0) throw new Error(`no such host ${host}`);
    return addresses.map((address) => ({ address, port }));
  }
}
