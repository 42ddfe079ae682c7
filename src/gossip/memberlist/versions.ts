/**
 * Version bytes and the check that keeps members apart which do not understand each other (reference/gossip.md §4.11).
 */
import type { MemberlistMember, VersionRange } from './types.ts';
import { isPresent } from './member-table.ts';

/** What this implementation speaks: as memberlist 0.2 to 0.5. */
export const ownProtocol: VersionRange = { min: 1, max: 5, current: 2 };

/** Steps of the protocol, gated on the peer's maximum although everyone "speaks" 2. */
export const protocolStep = { streamPing: 3, nack: 4, crc: 5 } as const;

/** Version bytes on the wire: min, max, current of memberlist, then of the layer above. */
export const versionBytesLength = 6;

/** @param bytes exactly {@link versionBytesLength}. */
export function versionsOf(bytes: Uint8Array): { readonly protocol: VersionRange; readonly delegate: VersionRange } {
  const range = (at: number): VersionRange => ({ min: bytes[at]!, max: bytes[at + 1]!, current: bytes[at + 2]! });
  return { protocol: range(0), delegate: range(3) };
}

export function sameVersions(a: MemberlistMember, b: MemberlistMember): boolean {
  const same = (x: VersionRange, y: VersionRange): boolean =>
    x.min === y.min && x.max === y.max && x.current === y.current;
  return same(a.protocol, b.protocol) && same(a.delegate, b.delegate);
}

/** The versions that all members understand. */
interface Common {
  protocolMin: number;
  protocolMax: number;
  delegateMin: number;
  delegateMax: number;
}

/**
 * Whether both sides can merge: what each record speaks, whatever its state, must be understood by everyone present.
 * @returns why not, or null.
 */
export function versionProblem(
  remote: readonly MemberlistMember[],
  local: Iterable<{ readonly member: MemberlistMember }>,
): string | null {
  const common: Common = { protocolMin: 0, protocolMax: 255, delegateMin: 0, delegateMax: 255 };
  for (const member of remote) if (member.state === 'alive') narrow(common, member);
  for (const { member } of local) if (isPresent(member)) narrow(common, member);
  for (const member of remote) {
    const problem = misfit(common, member);
    if (problem !== null) return problem;
  }
  for (const { member } of local) {
    const problem = misfit(common, member);
    if (problem !== null) return problem;
  }
  return null;
}

function narrow(common: Common, { protocol, delegate }: MemberlistMember): void {
  common.protocolMin = Math.max(common.protocolMin, protocol.min);
  common.protocolMax = Math.min(common.protocolMax, protocol.max);
  common.delegateMin = Math.max(common.delegateMin, delegate.min);
  common.delegateMax = Math.min(common.delegateMax, delegate.max);
}

function misfit(common: Common, { name, protocol, delegate }: MemberlistMember): string | null {
  if (protocol.current < common.protocolMin || protocol.current > common.protocolMax) {
    return (
      `Node '${name}' protocol version (${protocol.current}) is incompatible: ` +
      `[${common.protocolMin}, ${common.protocolMax}]`
    );
  }
  if (delegate.current < common.delegateMin || delegate.current > common.delegateMax) {
    return (
      `Node '${name}' delegate protocol version (${delegate.current}) is incompatible: ` +
      `[${common.delegateMin}, ${common.delegateMax}]`
    );
  }
  return null;
}
