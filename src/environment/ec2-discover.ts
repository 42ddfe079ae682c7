/** Addresses of the running instances that carry a tag: EC2's DescribeInstances, page by page. */
import { isIP } from 'node:net';
import { type AwsClient, call } from './aws-api.ts';
import { uriEncode } from './aws-signature.ts';
import { descend, parseXml, textAt, type XmlElement } from './xml.ts';

export type AddressType = 'private_v4' | 'public_v4' | 'public_v6';

export interface TagFilter {
  readonly tagKey: string;
  readonly tagValue: string;
}

const apiVersion = '2016-11-15';
/** Instances a page: an answer of some 500 kB at most. */
const pageSize = 100;
/** More than 10 000 instances are no way to find a handful of servers. */
const pagesMax = 100;

/** Addresses in the order of the answer, each once. @throws Error of {@link call}, or about an answer that is none */
export async function discoverInstances(
  client: AwsClient,
  { tagKey, tagValue }: TagFilter,
  addressType: AddressType,
): Promise<readonly string[]> {
  const addresses = new Set<string>();
  let nextToken: string | undefined;
  for (let page = 0; page < pagesMax; page++) {
    const form = {
      Action: 'DescribeInstances',
      Version: apiVersion,
      MaxResults: String(pageSize),
      'Filter.1.Name': `tag:${tagKey}`,
      'Filter.1.Value.1': tagValue,
      'Filter.2.Name': 'instance-state-name',
      'Filter.2.Value.1': 'running',
      ...(nextToken !== undefined && { NextToken: nextToken }),
    };
    const body = Object.entries(form)
      .map(([name, value]) => `${uriEncode(name)}=${uriEncode(value)}`)
      .join('&');
    const answer = await call(
      client,
      { 'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8', Accept: 'application/xml' },
      body,
    );
    const root = parseXml(answer);
    if (root.name !== 'DescribeInstancesResponse') {
      throw new Error(`${client.endpoint} answered <${root.name}> instead of <DescribeInstancesResponse>`);
    }
    for (const instance of descend(root, 'reservationSet', 'item', 'instancesSet', 'item')) {
      const address = addressOf(instance, addressType);
      if (address !== undefined && isIP(address) !== 0) addresses.add(address);
    }
    nextToken = textAt(root, 'nextToken');
    if (nextToken === undefined) return [...addresses];
  }
  throw new Error(
    `tag ${tagKey}=${tagValue} is on more than ${pagesMax * pageSize} instances; give the servers a tag of their own`,
  );
}

function addressOf(instance: XmlElement, type: AddressType): string | undefined {
  switch (type) {
    case 'private_v4':
      return textAt(instance, 'privateIpAddress');
    case 'public_v4':
      return textAt(instance, 'ipAddress');
    case 'public_v6':
      return textAt(instance, 'networkInterfaceSet', 'item', 'ipv6AddressesSet', 'item', 'ipv6Address');
  }
}
