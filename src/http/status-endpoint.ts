/** `/v1/status/`: who leads, and who votes (reference/http-api.md §9.8). */
import { json } from './answer.ts';
import type { Api } from './api.ts';
import { parseTarget } from './read-options.ts';
import type { Endpoint } from './routes.ts';

export function statusEndpoints(api: Api): readonly Endpoint[] {
  return [
    {
      pattern: '/v1/status/leader',
      ignoresNamespace: true,
      methods: {
        GET: async (request) =>
          json(request, await api.caller.call('Status.Leader', parseTarget(request, api.options()))),
      },
    },
    {
      pattern: '/v1/status/peers',
      ignoresNamespace: true,
      methods: {
        GET: async (request) =>
          json(request, await api.caller.call('Status.Peers', parseTarget(request, api.options()))),
      },
    },
  ];
}
