/**
 * Addresses for callers far away: with `translate_wan_addrs` an answer about another datacenter shows the addresses
 * tagged `wan` in the place of those that only that datacenter can reach (reference/http-api.md §2).
 */
import type { CheckServiceNode, Node, NodeService, ServiceNode } from '../model/index.ts';
import type { Api } from './api.ts';

const wan = 'wan';

/** Shows records of `datacenter` as they are to be shown to callers of this agent. */
export interface WanAddresses {
  readonly node: (node: Node) => Node;
  readonly service: (service: NodeService) => NodeService;
  readonly row: (row: ServiceNode) => ServiceNode;
  readonly entry: (entry: CheckServiceNode) => CheckServiceNode;
}

/** null when the records are to be shown as they are, which is nearly always. */
export function wanAddresses(api: Api, datacenter: string): WanAddresses | null {
  const { translateWanAddrs, datacenter: own } = api.options();
  return translateWanAddrs && datacenter !== own ? translated : null;
}

const node = (record: Node): Node => {
  const Address = record.TaggedAddresses?.[wan];
  return Address ? { ...record, Address } : record;
};

const service = (record: NodeService): NodeService => {
  const tagged = record.TaggedAddresses?.[wan];
  if (tagged === undefined) return record;
  return { ...record, Address: tagged.Address || record.Address, Port: tagged.Port || record.Port };
};

const translated: WanAddresses = {
  node,
  service,
  row: (record) => {
    const tagged = record.ServiceTaggedAddresses?.[wan];
    return {
      ...record,
      Address: record.TaggedAddresses?.[wan] || record.Address,
      ServiceAddress: tagged?.Address || record.ServiceAddress,
      ServicePort: tagged?.Port || record.ServicePort,
    };
  },
  entry: (entry) => ({ ...entry, Node: node(entry.Node), Service: service(entry.Service) }),
};
