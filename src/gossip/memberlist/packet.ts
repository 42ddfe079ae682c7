/**
 * One datagram, from the messages in it to its bytes and back (reference/gossip.md §3.3): label, encryption, checksum,
 * compression, compound, message. Whoever sends us packets decides about their layers, so what one packet may cost is
 * bounded: bytes expanded, messages, nesting.
 */
import type { Random } from '../../ports/index.ts';
import { decrypt, encrypt, encryptionOverhead } from './encryption.ts';
import {
  addCrc,
  checkCrc,
  compoundHeaderBytes,
  compoundPartsMax,
  compressMessage,
  expandMessage,
  FramingError,
  labelHeader,
  makeCompound,
  splitCompound,
  stripLabel,
} from './framing.ts';
import type { Keyring } from './keyring.ts';
import { messageType } from './messages.ts';

/** Compound in compress in compound…: no peer nests deeper than two. */
const nestingMax = 4;
/**
 * Bytes that one packet may expand to: twice the longest datagram, and peers send shorter ones. A few bytes can stand for
 * thousands, so this bounds what a flood of such packets costs (0.4 ms each).
 */
const expandedBytesMax = 1 << 17;
/** Messages of one packet; a full packet of the smallest ones has fewer. */
const messagesMax = 2_048;
const nonceBytes = 12;

/** How a pool's packets and streams are protected. */
export interface Security {
  readonly keyring: Keyring | undefined;
  readonly verifyIncoming: boolean;
  readonly verifyOutgoing: boolean;
  /** Empty for none. */
  readonly label: Uint8Array;
}

export function isEncrypting(security: Security): boolean {
  return security.keyring !== undefined && security.verifyOutgoing;
}

/** Bytes left for broadcasts in a packet that holds `directBytes` of a direct message (0: none). */
export function packetBudget(packetBytesMax: number, security: Security, directBytes: number): number {
  // Counted when a keyring is there, sent encrypted or not, as the peers do.
  const encryption = security.keyring === undefined ? 0 : encryptionOverhead;
  return packetBytesMax - compoundHeaderBytes - encryption - labelHeader(security.label).length - directBytes;
}

/**
 * The bytes of packets that carry `messages` (none of them empty): one, unless there are more messages than a compound
 * may hold.
 */
export function sealPackets(
  messages: readonly Uint8Array[],
  security: Security,
  options: { readonly compress: boolean; readonly crc: boolean; readonly random: Random },
): readonly Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (let at = 0; at < messages.length; at += compoundPartsMax) {
    const parts = messages.slice(at, at + compoundPartsMax);
    let packet = parts.length === 1 ? parts[0]! : makeCompound(parts);
    if (options.compress) {
      const compressed = compressMessage(packet);
      if (compressed.length < packet.length) packet = compressed;
    }
    if (options.crc) packet = addCrc(packet);
    if (security.keyring !== undefined && security.verifyOutgoing) {
      packet = encrypt(1, security.keyring.primary, options.random.bytes(nonceBytes), packet, security.label);
    }
    if (security.label.length > 0) packet = Buffer.concat([labelHeader(security.label), packet]);
    packets.push(packet);
  }
  return packets;
}

/**
 * Takes a packet apart.
 * @param visit gets each message, its type byte and its body; bodies are views into the packet or a copy of it.
 * @param onProblem a part that was left out; the rest still counts.
 * @throws Error when the packet as a whole is refused.
 */
export function openPacket(
  packet: Uint8Array,
  security: Security,
  visit: (type: number, body: Uint8Array) => void,
  onProblem: (problem: string) => void,
): void {
  let message = stripLabel(packet, security.label);
  if (security.keyring !== undefined) {
    try {
      message = decrypt(security.keyring, message, security.label);
    } catch (error) {
      if (security.verifyIncoming) throw error;
    }
  }
  if (message[0] === messageType.crc) message = checkCrc(message);
  const budget = { expandedBytes: expandedBytesMax, messages: messagesMax };
  const open = (message: Uint8Array, depth: number): void => {
    const type = message[0];
    if (type === undefined) throw new FramingError('an empty message');
    if (budget.messages-- <= 0) throw new FramingError(`more than ${messagesMax} messages in a packet`);
    if (type !== messageType.compound && type !== messageType.compress) {
      visit(type, message.subarray(1));
      return;
    }
    if (depth === nestingMax) throw new FramingError(`more than ${nestingMax} layers in a packet`);
    if (type === messageType.compress) {
      // A part that fails has cost the whole budget: a packet full of them must not cost many.
      const limit = budget.expandedBytes;
      budget.expandedBytes = 0;
      const expanded = expandMessage(message.subarray(1), limit);
      budget.expandedBytes = limit - expanded.length;
      open(expanded, depth + 1);
      return;
    }
    const { parts, truncated } = splitCompound(message.subarray(1));
    if (truncated > 0) onProblem(`compound request had ${truncated} truncated messages`);
    for (const part of parts) {
      try {
        open(part, depth + 1);
      } catch (error) {
        onProblem((error as Error).message);
      }
    }
  };
  open(message, 0);
}
