import type { Memberlist, MemberlistOptions } from './types.ts';

/** Makes a member; nothing happens before `start`. */
export function createMemberlist(options: MemberlistOptions): Memberlist {
  throw new Error(`memberlist ${options.name} comes with the next commit`);
}
