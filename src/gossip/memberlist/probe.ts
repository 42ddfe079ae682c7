/**
 * Failure detection: each interval one member is asked whether it lives, directly, then through others, then by stream
 * (reference/gossip.md §4.3). The round goes through all members in shuffled order, so that everyone is asked within a
 * bounded time and no two members ask in step.
 */
import type { Clock, Endpoint, Logger, Metrics, Random, Timer } from '../../ports/index.ts';
import { addressTextOf, isAddress } from './address.ts';
import type { AckTable } from './ack-table.ts';
import { type Awareness, failedProbeDelta } from './awareness.ts';
import type { MemberRecord, MemberTable } from './member-table.ts';
import {
  ack,
  encodeMessage,
  indirectPing,
  type IndirectPing,
  messageType,
  nack,
  type Ping,
  ping,
  suspect,
} from './messages.ts';
import type { MemberlistProfile } from './profiles.ts';
import { afterPatiently, repeat } from './timers.ts';
import type { MemberlistDelegate } from './types.ts';
import { protocolStep } from './versions.ts';

/** Indirect probes we run for others at one time; beyond it they get neither ack nor nack. */
const relaysMax = 1_024;

/** What a probe needs of the rest. */
export interface ProbePorts {
  readonly profile: MemberlistProfile;
  readonly table: MemberTable;
  readonly self: () => MemberRecord;
  readonly acks: AckTable;
  readonly awareness: Awareness;
  readonly delegate: Partial<MemberlistDelegate>;
  /** Sends a direct message, with gossip in the room that is left. */
  readonly sendDirect: (to: Endpoint, message: Uint8Array) => void;
  /** Sends these messages and nothing else. */
  readonly sendBare: (to: Endpoint, messages: readonly Uint8Array[], options: { readonly crc: boolean }) => void;
  /** Asks by stream; resolves to whether it was answered in time. */
  readonly streamPing: (to: Endpoint, request: Ping, timeoutMs: number) => Promise<boolean>;
  /** The verdict: nobody got an answer. */
  readonly onFailed: (record: MemberRecord) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export class Prober {
  readonly #ports: ProbePorts;
  #ticker: Timer | undefined;
  #timers: Timer[] = [];
  #sequence: number | undefined;
  /** An interval passed while a slow probe still ran. */
  #missedTick = false;
  #relays = 0;
  #stopped = false;

  constructor(ports: ProbePorts) {
    this.#ports = ports;
  }

  start(): void {
    const { clock, random, profile } = this.#ports;
    const { probeIntervalMs } = profile;
    this.#ticker = repeat(
      clock,
      random.next() * probeIntervalMs,
      () => probeIntervalMs,
      () => this.#tick(),
    );
  }

  stop(): void {
    this.#stopped = true;
    this.#ticker?.cancel();
    for (const timer of this.#timers) timer.cancel();
  }

  #tick(): void {
    if (this.#sequence !== undefined) {
      this.#missedTick = true;
      return;
    }
    const { clock, profile, table, self } = this.#ports;
    const nowMs = clock.monotonicMs();
    const record = table.nextToProbe(
      (record) => record.isPresent && record !== self(),
      (record) => !record.isPresent && record !== self() && nowMs - record.stateChangedMs > profile.gossipToTheDeadMs,
    );
    if (record !== undefined) this.#probe(record);
  }

  #probe(record: MemberRecord): void {
    const { acks, awareness, clock, delegate, logger, metrics, profile } = this.#ports;
    const target = record.member;
    const endpoint: Endpoint = { address: target.address, port: target.port };
    const sequence = acks.nextSequence();
    this.#sequence = sequence;
    const sentMs = clock.monotonicMs();
    const deadlineMs = awareness.scale(profile.probeIntervalMs);
    if (awareness.score > 0) metrics.count(['memberlist', 'degraded', 'probe']);
    let isDirect = true;
    let nacksExpected = 0;
    let nacksReceived = 0;
    let streamAnswered = false;

    acks.expect(
      sequence,
      // It ends with the verdict.
      undefined,
      (payload) => {
        if (isDirect) delegate.notifyPingComplete?.(record.member, clock.monotonicMs() - sentMs, payload);
        metrics.sample(['memberlist', 'probeNode'], clock.monotonicMs() - sentMs);
        this.#finish(-1);
      },
      () => nacksReceived++,
    );
    this.#timers = [
      afterPatiently(clock, Math.min(profile.probeTimeoutMs, deadlineMs), () => {
        isDirect = false;
        nacksExpected = this.#probeThroughOthers(record, sequence);
        if (!profile.streamPings || target.protocol.max < protocolStep.streamPing) return;
        const request = this.#pingOf(sequence, target.name);
        const remainingMs = Math.max(1, sentMs + deadlineMs - clock.monotonicMs());
        void this.#ports.streamPing(endpoint, request, remainingMs).then((answered) => {
          streamAnswered = answered;
        });
      }),
      afterPatiently(clock, deadlineMs, () => {
        if (streamAnswered) {
          logger.warn('was able to connect by stream, but packets got no answer: the network may drop UDP', {
            node: target.name,
          });
          this.#finish(-1);
          return;
        }
        this.#finish(failedProbeDelta(nacksExpected, nacksReceived));
        logger.info('suspecting a member, no answer received', { node: target.name });
        this.#ports.onFailed(record);
      }),
    ];

    const message = encodeMessage(messageType.ping, ping, this.#pingOf(sequence, target.name));
    if (target.state === 'alive') {
      this.#ports.sendDirect(endpoint, message);
      return;
    }
    // A suspect learns at once what is said of it, and can refute with its answer (the buddy system).
    const accusation = encodeMessage(messageType.suspect, suspect, {
      Incarnation: target.incarnation,
      Node: target.name,
      From: this.#ports.self().name,
    });
    const crc = target.protocol.max >= protocolStep.crc;
    this.#ports.sendBare(endpoint, [message, accusation], { crc });
  }

  /** @returns how many of those asked will report a failure of theirs to us. */
  #probeThroughOthers(record: MemberRecord, sequence: number): number {
    const { profile, table, self, sendDirect } = this.#ports;
    const target = record.member;
    const helpers = table.choose(
      profile.indirectChecks,
      (other) => other.member.state === 'alive' && other !== record && other !== self(),
    );
    let nacks = 0;
    for (const { member: helper } of helpers) {
      const wantsNack = helper.protocol.max >= protocolStep.nack;
      if (wantsNack) nacks++;
      const message = encodeMessage(messageType.indirectPing, indirectPing, {
        ...this.#pingOf(sequence, target.name),
        Target: target.addressBytes,
        Port: target.port,
        Nack: wantsNack,
      });
      sendDirect({ address: helper.address, port: helper.port }, message);
    }
    return nacks;
  }

  #finish(awarenessDelta: number): void {
    const { acks, awareness, metrics, clock } = this.#ports;
    for (const timer of this.#timers) timer.cancel();
    acks.forget(this.#sequence!);
    this.#sequence = undefined;
    const before = awareness.score;
    awareness.apply(awarenessDelta);
    if (awareness.score !== before) metrics.gauge(['memberlist', 'health', 'score'], awareness.score);
    if (!this.#missedTick) return;
    this.#missedTick = false;
    this.#timers = [clock.after(0, () => this.#tick())];
  }

  /** Answers a ping. @param from where the packet came from. */
  servePing(request: Ping, from: Endpoint): void {
    const { logger, self, delegate, sendDirect } = this.#ports;
    if (request.Node !== '' && request.Node !== self().name) {
      logger.warn('got a ping for another node', { node: request.Node, from: from.address });
      return;
    }
    const payload = delegate.ackPayload?.();
    const message = encodeMessage(messageType.ack, ack, {
      SeqNo: request.SeqNo,
      Payload: payload === undefined || payload.length === 0 ? null : payload,
    });
    sendDirect(replyTo(request, from), message);
  }

  /** Probes for another member, which gets our answer instead of the target's. */
  serveIndirectPing(request: IndirectPing, from: Endpoint, target: Endpoint): void {
    const { acks, clock, profile, sendDirect } = this.#ports;
    if (this.#relays >= relaysMax) return;
    this.#relays++;
    const requester = replyTo(request, from);
    const sequence = acks.nextSequence();
    let answered = false;
    acks.expect(
      sequence,
      profile.probeTimeoutMs,
      () => {
        answered = true;
        sendDirect(requester, encodeMessage(messageType.ack, ack, { SeqNo: request.SeqNo, Payload: null }));
      },
      () => {},
    );
    clock.after(profile.probeTimeoutMs, () => {
      this.#relays--;
      if (answered || !request.Nack || this.#stopped) return;
      sendDirect(requester, encodeMessage(messageType.nack, nack, { SeqNo: request.SeqNo }));
    });
    sendDirect(target, encodeMessage(messageType.ping, ping, this.#pingOf(sequence, request.Node)));
  }

  #pingOf(sequence: number, node: string): Ping {
    const { member } = this.#ports.self();
    return {
      SeqNo: sequence,
      Node: node,
      SourceAddr: member.addressBytes,
      SourcePort: member.port,
      SourceNode: member.name,
    };
  }
}

/** Where the answer to a probe goes: to what the request says, else to where it came from. */
function replyTo(
  request: { readonly SourceAddr: Uint8Array | null; readonly SourcePort: number },
  from: Endpoint,
): Endpoint {
  const { SourceAddr, SourcePort } = request;
  if (SourceAddr === null || !isAddress(SourceAddr) || SourcePort === 0) return from;
  return { address: addressTextOf(SourceAddr), port: SourcePort };
}
