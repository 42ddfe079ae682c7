export { addressBytesOf } from './address.ts';
export { BroadcastQueue, type BroadcastOptions } from './broadcast-queue.ts';
export { pushPullScaledMs, retransmitLimit, suspicionMinMs, suspicionRemainingMs } from './formulas.ts';
export { Keyring, KeyringError } from './keyring.ts';
export { createMemberlist } from './memberlist.ts';
export { lanProfile, localProfile, type MemberlistProfile, wanProfile } from './profiles.ts';
export {
  type JoinResult,
  type Memberlist,
  type MemberlistDelegate,
  type MemberlistMember,
  type MemberlistOptions,
  type MemberState,
  metaBytesMax,
  type VersionRange,
} from './types.ts';
