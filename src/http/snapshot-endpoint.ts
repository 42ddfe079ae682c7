/** `/v1/snapshot`: the state of all as a file, and back (reference/http-api.md §9.8). Files are never held whole. */
import type { Snapshots, SnapshotTarget } from '../server/index.ts';
import { type Answer, empty } from './answer.ts';
import type { Api } from './api.ts';
import { metaHeaders, parseReadOptions, type ReadOptions } from './read-options.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';

export function snapshotEndpoints(api: Api, snapshots: Snapshots): readonly Endpoint[] {
  return [
    {
      pattern: '/v1/snapshot',
      methods: { GET: (request) => save(api, snapshots, request), PUT: (request) => restore(api, snapshots, request) },
      ignoresNamespace: true,
    },
  ];
}

async function save(api: Api, snapshots: Snapshots, request: ApiRequest): Promise<Answer> {
  const target = targetOf(parseReadOptions(request, api.options()));
  const { meta, archive } = await snapshots.save(target, request.signal);
  return {
    status: 200,
    headers: [...metaHeaders(meta, null), ['Content-Type', 'application/x-gzip']],
    body: null,
    pieces: archive,
  };
}

async function restore(api: Api, snapshots: Snapshots, request: ApiRequest): Promise<Answer> {
  const target = targetOf(parseReadOptions(request, api.options()));
  await snapshots.restore(target, request.pieces, request.signal);
  return empty();
}

function targetOf({ query }: ReadOptions): SnapshotTarget {
  return { datacenter: query.Datacenter, token: query.Token ?? '', stale: query.AllowStale === true };
}
