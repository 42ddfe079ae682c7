/** `/v1/status/`: who leads, and who votes (reference/http-api.md §9.8). Never blocks, but looks at the parameters. */
import { json } from './answer.ts';
import type { Api } from './api.ts';
import { parseReadOptions, parseTarget } from './read-options.ts';
import type { Endpoint } from './routes.ts';

export function statusEndpoints(api: Api): readonly Endpoint[] {
  const get = (pattern: string, call: 'Status.Leader' | 'Status.Peers'): Endpoint => ({
    pattern,
    ignoresNamespace: true,
    methods: {
      GET: async (request) => {
        parseReadOptions(request, api.options());
        return json(request, await api.caller.call(call, parseTarget(request, api.options())));
      },
    },
  });
  return [get('/v1/status/leader', 'Status.Leader'), get('/v1/status/peers', 'Status.Peers')];
}
