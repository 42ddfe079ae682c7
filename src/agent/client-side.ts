/**
 * This agent as a client: it keeps nothing of the cluster's state; every call travels to one of the servers that gossip
 * has named.
 */
import type { Config } from '../config/index.ts';
import { parseConsulServer } from '../gossip/index.ts';
import { type Member, memberStatus } from '../model/index.ts';
import type { Clock, Logger, Metrics, Random, StreamNetwork, TlsClient } from '../ports/index.ts';
import { createRpcClient } from '../rpc/index.ts';
import { callServerBy, createRemoteResolver, createRouter, serverMethods, type Snapshots } from '../server/index.ts';
import { remoteAclSettings } from './acl.ts';
import type { AutoEncrypt } from './auto-encrypt.ts';
import type { ClusterSide } from './cluster-side.ts';
import { createOutgoingRpc } from './outgoing-rpc.ts';

export interface ClientSideOptions {
  /** The configuration in force; a reload replaces it. */
  readonly config: () => Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly streams: StreamNetwork;
  readonly tls: TlsClient;
  /** With `auto_encrypt.tls`. */
  readonly autoEncrypt: AutoEncrypt | undefined;
  /** Members of the LAN pool that are alive. */
  readonly memberCount: () => number;
  /** A server has come, or has come back. */
  readonly onServerUp: () => void;
}

export function openClientSide(options: ClientSideOptions): ClusterSide {
  const { clock, random, logger, metrics, streams, tls } = options;
  const config = options.config();
  const rpc = createOutgoingRpc(config, { clock, streams, tls }, options.autoEncrypt);
  const router = createRouter({
    clock,
    random,
    logger,
    metrics,
    callServer: callServerBy(createRpcClient({ pool: rpc.pool, shapes: serverMethods, clock })),
    pool: rpc.pool,
    dial: rpc.dial,
    datacenter: config.datacenter,
    limits: () => options.config().limits,
    rpcHoldTimeoutMs: config.performance.rpcHoldTimeoutMs,
    memberCount: options.memberCount,
    onServerUp: options.onServerUp,
  });
  const tokens = createRemoteResolver({
    caller: router.caller,
    datacenter: config.datacenter,
    settings: remoteAclSettings(config),
    clock,
    logger,
  });
  const snapshots: Snapshots = {
    save: async ({ datacenter, token, stale }, signal) => {
      const request = { Op: 'save', Datacenter: datacenter, Token: token, AllowStale: stale } as const;
      const { reply, archive } = await router.snapshot(request, signal === undefined ? {} : { signal });
      return { meta: reply, archive };
    },
    restore: async ({ datacenter, token, stale }, archive, signal) => {
      const request = { Op: 'restore', Datacenter: datacenter, Token: token, AllowStale: stale } as const;
      await router.snapshot(request, { archive, ...(signal === undefined ? {} : { signal }) });
    },
  };
  const see = (member: Member): void => {
    const server = parseConsulServer(member);
    if (server === null) return;
    if (member.Status === memberStatus.alive || member.Status === memberStatus.leaving) router.addServer(server);
    else router.removeServer(server);
  };
  return {
    caller: router.caller,
    snapshots,
    resolveToken: (secret) => tokens.resolveToken(secret),
    accessorOf: (secret) => tokens.accessorOf(secret),
    trustedRoots: () => [],
    stats: () => ({
      consul: { ...router.stats(), acl: config.acl.enabled ? 'enabled' : 'disabled' },
    }),
    membersChanged: ({ type, members }, pool) => {
      if (pool !== 'lan') return;
      for (const member of members) {
        if (type === 'member-reap') router.removeServer({ name: member.Name });
        else see(member);
      }
    },
    prepare: async () => options.autoEncrypt?.obtain(),
    start: () => {
      router.start();
      void options.autoEncrypt?.keep(router.caller);
      return Promise.resolve();
    },
    prepareLeave: () => Promise.resolve(),
    finishLeave: () => Promise.resolve(),
    stop: () => {
      options.autoEncrypt?.stop();
      router.stop();
      rpc.pool.close();
      return Promise.resolve();
    },
  };
}
