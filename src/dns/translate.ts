/**
 * Which of a record's addresses is answered: plain, tagged by family, or WAN (reference/dns.md §6.3). A question for
 * both families prefers IPv6.
 */
import type { Node, NodeService } from '../model/index.ts';
import { recordType } from './message.ts';

type Tagged = Readonly<Record<string, string | undefined>>;

function choose(address: string, tagged: Tagged, wan: boolean, type: number): string {
  const plain = (wan ? tagged['wan'] : undefined) || address;
  const v4 = (wan ? tagged['wan_ipv4'] : undefined) || tagged['lan_ipv4'];
  const v6 = (wan ? tagged['wan_ipv6'] : undefined) || tagged['lan_ipv6'];
  if (type === recordType.A) return v4 || plain;
  if (type === recordType.AAAA) return v6 || plain;
  return v6 || v4 || plain;
}

/** `wan`: addresses are translated and the record is of another datacenter. */
export function nodeAddress(node: Node, wan: boolean, type: number): string {
  return node.TaggedAddresses === null || node.TaggedAddresses === undefined
    ? node.Address
    : choose(node.Address, node.TaggedAddresses, wan, type);
}

export function serviceAddress(service: NodeService, wan: boolean, type: number): string {
  if (service.TaggedAddresses === null || service.TaggedAddresses === undefined) return service.Address;
  const tagged: Record<string, string> = {};
  for (const [tag, value] of Object.entries(service.TaggedAddresses)) tagged[tag] = value.Address;
  return choose(service.Address, tagged, wan, type);
}

export function servicePort(service: NodeService, wan: boolean): number {
  return (wan ? service.TaggedAddresses?.['wan']?.Port : undefined) || service.Port;
}
