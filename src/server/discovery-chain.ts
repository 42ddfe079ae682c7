/** `DiscoveryChain.Get`: the path of a request to a service, compiled (reference/server-rpc.md §4.12). */
import { createHash } from 'node:crypto';
import { CallError, type DiscoveryChainRequest } from '../model/index.ts';
import { type ChainRequest, type CompiledChain, compileDiscoveryChain } from '../state/index.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter } from './endpoint.ts';

/** Hex digits of a CustomizationHash. */
const hashDigits = 8;

/** @param trustDomain of the certificate authority; undefined while Connect is off. */
export function discoveryChainHandlers(
  endpoint: Endpoint,
  trustDomain: () => string | undefined,
): Handlers<'DiscoveryChain.Get'> {
  const { store, queries, datacenter } = endpoint;
  return {
    'DiscoveryChain.Get': (request, signal) => {
      requireDatacenter(endpoint, request);
      if (request.Name === '') throw new CallError('Must provide service name');
      return queries.run(
        request,
        (watch) => {
          const domain = trustDomain();
          if (domain === undefined) throw new CallError('Connect must be enabled in order to use this endpoint');
          const { configEntries } = store;
          const index = configEntries.index(watch);
          const compiled = compileDiscoveryChain(
            (kind, name) => configEntries.find(kind, name),
            chainRequest(request, datacenter, domain),
          );
          const Chain = { ...compiled.chain, CustomizationHash: customizationHash(request, compiled) };
          return { ...queryMeta(endpoint, index), Chain };
        },
        signal,
      );
    },
  };
}

function chainRequest(request: DiscoveryChainRequest, here: string, trustDomain: string): ChainRequest {
  return {
    service: request.Name,
    datacenter: request.EvaluateInDatacenter || here,
    useIn: here,
    trustDomain,
    overrideProtocol: request.OverrideProtocol ?? '',
    overrideMeshGateway: request.OverrideMeshGateway ?? {},
    overrideConnectTimeout: request.OverrideConnectTimeout ?? 0,
  };
}

/** Tells chains of one service apart that different overrides have changed. */
function customizationHash(request: DiscoveryChainRequest, { customized }: CompiledChain): string {
  const parts = [
    customized.meshGateway ? `mesh-gateway=${request.OverrideMeshGateway?.Mode}` : '',
    customized.protocol ? `protocol=${request.OverrideProtocol}` : '',
    customized.connectTimeout ? `connect-timeout=${request.OverrideConnectTimeout}` : '',
  ].filter(Boolean);
  if (parts.length === 0) return '';
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, hashDigits);
}
