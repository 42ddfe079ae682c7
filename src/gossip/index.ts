/** Membership by gossip: serf's pool over memberlist, and what Consul says in it. */
export { type ConsulEventKind, consulEventKind, newLeaderEvent } from './consul-events.ts';
export { type LanIdentity, lanMergeProblem, wanMergeProblem } from './consul-merge.ts';
export * from './consul-tags.ts';
export * from './memberlist/index.ts';
export * from './serf/index.ts';
