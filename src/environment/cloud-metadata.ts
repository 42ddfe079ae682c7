/**
 * The metadata services of EC2, GCE and Azure (reference/container-environments.md §9, rungs 6-9). All live at one
 * link-local address and differ by headers, so asking is cheap where one of them is there and a silent time-out where
 * none is. Which one is there is usually written in the firmware's tables.
 */
import { isIP } from 'node:net';
import { openEc2Metadata } from './ec2-metadata.ts';
import { absent, type CloudFacts, type CloudHint, type Finding, found } from './facts.ts';
import { type HttpRequest, type ProbePorts, within } from './probe-ports.ts';

const base = 'http://169.254.169.254';
/** One exchange; the whole chain of EC2 (token, address, address without token) ends with the probes' total. */
const exchangeMs = 700;

/** Reads who made the machine: `/sys/class/dmi/id/*` (Nitro, GCE, Azure) and `/sys/hypervisor/uuid` (Xen). */
export async function cloudHints(
  readFile: ProbePorts['readFile'],
  variables: Readonly<Record<string, string>>,
): Promise<readonly CloudHint[]> {
  const [vendor = '', bios = '', hypervisor = ''] = await Promise.all(
    ['/sys/class/dmi/id/sys_vendor', '/sys/class/dmi/id/bios_version', '/sys/hypervisor/uuid'].map(readFile),
  );
  const hints: CloudHint[] = [];
  const isEcs =
    (variables['AWS_EXECUTION_ENV'] ?? '').startsWith('AWS_ECS_EC2') || 'ECS_CONTAINER_METADATA_FILE' in variables;
  if (vendor.startsWith('Amazon') || bios.includes('amazon') || hypervisor.startsWith('ec2') || isEcs)
    hints.push('aws');
  if (vendor.startsWith('Google')) hints.push('gce');
  if (vendor.startsWith('Microsoft')) hints.push('azure');
  return hints;
}

export interface CloudAnswer {
  readonly cloud: Finding<CloudFacts>;
  readonly tokenTimedOut: boolean;
}

/** Asks all of `providers` at once; the first in the order aws, gce, azure that has an address is taken. */
export async function askClouds(
  ports: ProbePorts,
  providers: readonly CloudHint[],
  signal: AbortSignal,
): Promise<CloudAnswer> {
  let tokenTimedOut = false;
  const reasons: string[] = [];
  const askers: Readonly<Record<CloudHint, () => Promise<CloudFacts>>> = {
    aws: () => askEc2(ports, signal, () => (tokenTimedOut = true)),
    gce: () => askGce(ports, signal),
    azure: () => askAzure(ports, signal),
  };
  const answers = await Promise.all(
    providers.map((provider) =>
      askers[provider]().catch((error: unknown) => {
        reasons.push(`${provider}: ${(error as Error).message}`);
        return undefined;
      }),
    ),
  );
  const answer = answers.find((each) => each !== undefined);
  return { cloud: answer ? found(answer) : absent(reasons.join('; ')), tokenTimedOut };
}

function exchange(
  ports: ProbePorts,
  outer: AbortSignal,
  path: string,
  headers: Readonly<Record<string, string>>,
): ReturnType<HttpRequest> {
  return within(ports.clock, exchangeMs, outer, (signal) =>
    ports.http({ method: 'GET', url: `${base}${path}`, headers, signal }),
  );
}

/** The body as an address. @throws Error with what came instead. */
function addressOf({ status, body }: { readonly status: number; readonly body: string }): string {
  const address = body.trim();
  if (status !== 200) throw new Error(`answered ${status}`);
  if (isIP(address) === 0) throw new Error(`answered "${address.slice(0, 80)}", which is not an address`);
  return address;
}

async function askEc2(ports: ProbePorts, signal: AbortSignal, onTokenTimeout: () => void): Promise<CloudFacts> {
  const metadata = await openEc2Metadata(ports, signal, { exchangeMs, onTokenTimeout });
  const address = addressOf(await metadata.get('/latest/meta-data/local-ipv4'));
  return { provider: 'aws', address, via: `EC2 instance metadata v${metadata.version}` };
}

async function askGce(ports: ProbePorts, signal: AbortSignal): Promise<CloudFacts> {
  const answer = await exchange(ports, signal, '/computeMetadata/v1/instance/network-interfaces/0/ip', {
    'Metadata-Flavor': 'Google',
  });
  if (answer.headers['metadata-flavor'] !== 'Google') throw new Error('the answer is not from Google');
  return { provider: 'gce', address: addressOf(answer), via: 'GCE instance metadata' };
}

async function askAzure(ports: ProbePorts, signal: AbortSignal): Promise<CloudFacts> {
  const answer = await exchange(
    ports,
    signal,
    '/metadata/instance/network/interface/0/ipv4/ipAddress/0/privateIpAddress?api-version=2021-02-01&format=text',
    { Metadata: 'true' },
  );
  return { provider: 'azure', address: addressOf(answer), via: 'Azure instance metadata' };
}
