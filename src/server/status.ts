/** `Status.*`: who leads and who takes part; any server answers, nothing blocks (reference/server-rpc.md §4.2). */
import type { Endpoint, Handlers } from './endpoint.ts';
import { requireDatacenter } from './endpoint.ts';

/* oxlint-disable require-await -- a refusal must become a rejection, and nothing here waits */
export function statusHandlers(endpoint: Endpoint): Handlers<'Status.Ping' | 'Status.Leader' | 'Status.Peers'> {
  /** Here an empty name is ours, for old clients that send none. */
  const check = (request: { readonly Datacenter?: string }): void => {
    if (request.Datacenter) requireDatacenter(endpoint, { Datacenter: request.Datacenter });
  };
  return {
    'Status.Ping': async () => null,
    'Status.Leader': async (request) => {
      check(request);
      return endpoint.log.leaderAddress;
    },
    'Status.Peers': async (request) => {
      check(request);
      return endpoint.log.peers;
    },
  };
}
