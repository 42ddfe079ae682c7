/** `/v1/discovery-chain/`: the compiled path of a request to a service (reference/http-api.md §9.9). */
import { formatGoDuration, GoJsonError, parseGoJson } from '../codec/index.ts';
import type {
  CompiledDiscoveryChain,
  DiscoveryChainRequest,
  DiscoveryGraphNode,
  DiscoveryTarget,
} from '../model/index.ts';
import { type Answer, badRequest, HttpError, json } from './answer.ts';
import type { Api } from './api.ts';
import {
  chainOverrideFields,
  ConfigEntryError,
  decodeLoosely,
  fieldsView,
  routeFields,
  subsetFields,
} from './config-entry-json.ts';
import { anyMap, DecodeError } from './decode.ts';
import { metaHeaders, parseReadOptions, readPerhapsCached, readSignal } from './read-options.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';

type Overrides = Pick<DiscoveryChainRequest, 'OverrideMeshGateway' | 'OverrideProtocol' | 'OverrideConnectTimeout'>;

const meshGatewayModes: readonly string[] = ['', 'none', 'local', 'remote'];

export function discoveryChainEndpoints(api: Api): readonly Endpoint[] {
  const handler = (request: ApiRequest): Promise<Answer> => chain(api, request);
  return [{ pattern: '/v1/discovery-chain/', methods: { GET: handler, POST: handler } }];
}

async function chain(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const Name = request.name;
  if (Name === '') throw badRequest('Missing chain name');
  const EvaluateInDatacenter = request.query.get('compile-dc');
  const overrides = request.method === 'POST' ? await readOverrides(request) : {};
  const signal = readSignal(request, options);
  const { reply, consistency, headers } = await readPerhapsCached(
    api,
    options,
    'DiscoveryChain.Get',
    (query) => ({ ...query, Name, EvaluateInDatacenter, ...overrides }),
    signal,
  );
  return json(request, { Chain: chainView(reply.Chain) }, [...metaHeaders(reply, consistency), ...headers]);
}

async function readOverrides(request: ApiRequest): Promise<Overrides> {
  let given: Overrides;
  try {
    const value = parseGoJson(await request.body());
    // The table of fields says what they are.
    given = value === null ? {} : decodeLoosely(chainOverrideFields, anyMap(value, ''));
  } catch (error) {
    if (!(error instanceof GoJsonError || error instanceof DecodeError || error instanceof ConfigEntryError))
      throw error;
    throw badRequest(`Request decoding failed: ${error.message}`);
  }
  if (!meshGatewayModes.includes(given.OverrideMeshGateway?.Mode ?? '')) {
    throw new HttpError(400, 'Invalid OverrideMeshGateway.Mode parameter');
  }
  return given;
}

function chainView(chain: CompiledDiscoveryChain): object {
  return {
    ServiceName: chain.ServiceName,
    Namespace: chain.Namespace,
    Datacenter: chain.Datacenter,
    CustomizationHash: chain.CustomizationHash || undefined,
    Protocol: chain.Protocol,
    StartNode: chain.StartNode,
    Nodes: new Map(Object.entries(chain.Nodes).map(([key, node]) => [key, nodeView(node)])),
    Targets: new Map(Object.entries(chain.Targets).map(([key, target]) => [key, targetView(target)])),
  };
}

function nodeView({ Type, Name, Routes, Splits, Resolver }: DiscoveryGraphNode): object {
  return {
    Type,
    Name,
    Routes: Routes?.map(({ Definition, NextNode }) => ({ Definition: fieldsView(routeFields, Definition), NextNode })),
    Splits: Splits?.map(({ Weight, NextNode }) => ({ Weight, NextNode })),
    Resolver:
      Resolver === undefined
        ? undefined
        : {
            ConnectTimeout: formatGoDuration(Resolver.ConnectTimeout),
            Default: Resolver.Default || undefined,
            Target: Resolver.Target,
            Failover: Resolver.Failover,
          },
  };
}

function targetView(target: DiscoveryTarget): object {
  return {
    ID: target.ID,
    Service: target.Service,
    ServiceSubset: target.ServiceSubset,
    Namespace: target.Namespace,
    Datacenter: target.Datacenter,
    MeshGateway: { Mode: target.MeshGateway.Mode || undefined },
    Subset: fieldsView(subsetFields, target.Subset),
    External: target.External,
    SNI: target.SNI,
    Name: target.Name,
  };
}
