/** `/v1/coordinate/`: where nodes stand in the network (reference/http-api.md §9.8). */
import type { Coordinate, NodeCoordinate } from '../model/index.ts';
import { type Answer, empty, HttpError, json } from './answer.ts';
import type { Api } from './api.ts';
import { type Decode, decodeBody, DecodeError, list, string, struct } from './decode.ts';
import { metaHeaders, parseReadOptions, parseTarget, readSignal, readWithMeta } from './read-options.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint, Handler } from './routes.ts';

const float: Decode<number> = (value, field) => {
  if (typeof value === 'number' || typeof value === 'bigint') return Number(value);
  throw new DecodeError(`json: cannot unmarshal ${typeof value} into Go struct field ${field} of type float64`);
};

const coordinate = struct<Coordinate>({
  Vec: ['Vec', list(float, 0)],
  Error: ['Error', float],
  Adjustment: ['Adjustment', float],
  Height: ['Height', float],
});

const updateBody = struct<NodeCoordinate>({
  Node: ['Node', string],
  Segment: ['Segment', string],
  Coord: ['Coord', (value, field) => ({ Vec: [], Error: 0, Adjustment: 0, Height: 0, ...coordinate(value, field) })],
});

const entryView = ({ Node, Segment, Coord }: NodeCoordinate): unknown => ({
  Node,
  Segment,
  Coord: { Vec: Coord.Vec, Error: Coord.Error, Adjustment: Coord.Adjustment, Height: Coord.Height },
});

export function coordinateEndpoints(api: Api): readonly Endpoint[] {
  const endpoint = (
    method: 'GET' | 'PUT',
    pattern: string,
    handler: (api: Api, request: ApiRequest) => Promise<Answer>,
  ): Endpoint => {
    const enabled: Handler = (request) => {
      if (api.options().disableCoordinates) throw new HttpError(401, 'Coordinate support disabled');
      return handler(api, request);
    };
    return { pattern, ignoresNamespace: true, methods: { [method]: enabled } };
  };
  return [
    endpoint('GET', '/v1/coordinate/datacenters', datacenters),
    endpoint('GET', '/v1/coordinate/nodes', nodes),
    endpoint('GET', '/v1/coordinate/node/', node),
    endpoint('PUT', '/v1/coordinate/update', update),
  ];
}

async function datacenters(api: Api, request: ApiRequest): Promise<Answer> {
  const maps = await api.caller.call('Coordinate.ListDatacenters', {});
  return json(
    request,
    maps.map(({ Datacenter, AreaID, Coordinates }) => ({
      Datacenter,
      AreaID,
      Coordinates: Coordinates.map(entryView),
    })),
  );
}

async function nodes(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const { reply } = await readWithMeta(options, (query) =>
    api.caller.call('Coordinate.ListNodes', query, readSignal(request, options)),
  );
  return json(request, ofSegment(request, reply.Coordinates).map(entryView), metaHeaders(reply, null));
}

async function node(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const Node = request.name;
  const { reply } = await readWithMeta(options, (query) =>
    api.caller.call('Coordinate.Node', { ...query, Node }, readSignal(request, options)),
  );
  const found = ofSegment(request, reply.Coordinates);
  if (found.length === 0) return empty(404);
  return json(
    request,
    found.map((entry) => entryView({ ...entry, Node })),
    metaHeaders(reply, null),
  );
}

async function update(api: Api, request: ApiRequest): Promise<Answer> {
  const target = parseTarget(request, api.options());
  const { Node = '', Segment = '', Coord = null } = decodeBody(await request.body(), updateBody);
  await api.caller.call('Coordinate.Update', { ...target, Node, Segment, Coord });
  return empty();
}

/** An empty `segment` asks for the one segment that has no name. */
function ofSegment(request: ApiRequest, all: readonly NodeCoordinate[]): readonly NodeCoordinate[] {
  if (!request.query.has('segment')) return all;
  return all.filter(({ Segment }) => Segment === request.query.get('segment'));
}
