/** `/v1/internal/ui/`: nodes with everything on them, in one read (reference/http-api.md §9.10). */
import type { QueryMeta } from '../model/index.ts';
import { type Answer, empty, json, jsonBody } from './answer.ts';
import type { Api } from './api.ts';
import { nodeName } from './catalog-endpoint.ts';
import { metaHeaders, parseReadOptions, readSignal, readWithMeta, type ReadOptions } from './read-options.ts';
import { ListEncoder, nodeInfoView } from './record-json.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';

const nodeInfos = new ListEncoder(nodeInfoView);

export function uiDataEndpoints(api: Api): readonly Endpoint[] {
  return [
    { pattern: '/v1/internal/ui/nodes', methods: { GET: (request) => listNodes(api, request) } },
    { pattern: '/v1/internal/ui/node/', methods: { GET: (request) => nodeInfo(api, request) } },
  ];
}

async function listNodes(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const signal = readSignal(request, options);
  const reply = await readEvenWithoutLeader(options, (query) => api.caller.call('Internal.NodeDump', query, signal));
  return jsonBody(nodeInfos.body(reply.Dump, request), metaHeaders(reply, null));
}

async function nodeInfo(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const Node = nodeName(request);
  const signal = readSignal(request, options);
  const reply = await readEvenWithoutLeader(options, (query) =>
    api.caller.call('Internal.NodeInfo', { ...query, Node }, signal),
  );
  const [node] = reply.Dump;
  return node === undefined ? empty(404) : json(request, nodeInfoView(node), metaHeaders(reply, null));
}

/** A person looking at the UI is better served by an old answer than by none. */
export async function readEvenWithoutLeader<R extends QueryMeta>(
  options: ReadOptions,
  call: (query: ReadOptions['query']) => Promise<R>,
): Promise<R> {
  const { reply } = await readWithMeta(options, async (query) => {
    try {
      return await call(query);
    } catch (error) {
      const leaderless = error instanceof Error && error.message.includes('No cluster leader');
      if (!leaderless || query.AllowStale === true) throw error;
      return call({ ...query, AllowStale: true });
    }
  });
  return reply;
}
