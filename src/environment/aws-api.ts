/**
 * One signed request to an AWS service: where it lives, how it is signed, and what its refusals mean. EC2 speaks the
 * query protocol (form in, XML out), ECS the JSON one.
 */
import type { AwsPorts } from './aws-credentials.ts';
import { type AwsCredentials, signRequest } from './aws-signature.ts';
import { within } from './probe-ports.ts';
import { parseXml, textAt } from './xml.ts';

/** Who asks, where. */
export interface AwsClient {
  readonly ports: Pick<AwsPorts, 'clock' | 'http'>;
  readonly service: 'ec2' | 'ecs';
  readonly region: string;
  /** Base URL of the service. */
  readonly endpoint: string;
  readonly credentials: AwsCredentials;
  readonly signal: AbortSignal;
}

/** One page of an answer; the service gives up later, but a join should not wait for it, ms. */
const requestMs = 15_000;
/** Of a refusal's message: some carry kilobytes that only their owner can decode. */
const messageLengthMax = 300;

/** The usual variables for other endpoints (a private one, a simulated one), else the public one. */
export function endpointOf(
  service: 'ec2' | 'ecs',
  region: string,
  variables: Readonly<Record<string, string | undefined>>,
): string {
  if (!/^[a-z0-9-]{1,64}$/.test(region)) throw new Error(`${JSON.stringify(region)} is not the name of an AWS region`);
  const domain = region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
  return (
    variables[`AWS_ENDPOINT_URL_${service.toUpperCase()}`] ||
    variables['AWS_ENDPOINT_URL'] ||
    `https://${service}.${region}.${domain}`
  );
}

/** The answer's body. @throws Error with the service's own reason and what to do about it */
export async function call(
  client: AwsClient,
  headers: Readonly<Record<string, string>>,
  body: string,
): Promise<string> {
  const { clock, http } = client.ports;
  const url = new URL(client.endpoint).href;
  const request = { method: 'POST', url, headers, body } as const;
  const scope = { region: client.region, service: client.service, wallMs: clock.wallMs() };
  const signed = signRequest(request, scope, client.credentials);
  let answer: Awaited<ReturnType<typeof http>>;
  try {
    answer = await within(clock, requestMs, client.signal, (signal) => http({ ...request, headers: signed, signal }));
  } catch (error) {
    throw new Error(
      `${client.endpoint} cannot be reached: ${(error as Error).message}; a network without a way out needs a VPC endpoint for ${client.service}`,
      { cause: error },
    );
  }
  if (answer.status === 200) return answer.body;
  const { code, message } = refusal(answer.body);
  throw new Error(
    `${client.endpoint} answered ${answer.status} ${[code, message].filter(Boolean).join(': ')}${adviceOn(code)}`,
  );
}

function refusal(body: string): { readonly code: string; readonly message: string } {
  const cut = (text: string): string => text.slice(0, messageLengthMax);
  try {
    if (body.trimStart().startsWith('{')) {
      const { __type = '', message = '', Message = message } = JSON.parse(body) as Readonly<Record<string, string>>;
      return { code: cut(__type.split('#').at(-1)!), message: cut(Message) };
    }
    const root = parseXml(body);
    const path = ['Errors', 'Error'];
    return {
      code: cut(textAt(root, ...path, 'Code') ?? ''),
      message: cut(textAt(root, ...path, 'Message') ?? ''),
    };
  } catch {
    // Not the service but something before it, as a proxy.
    return { code: '', message: cut(body) };
  }
}

/** What to do about the refusals that are met when setting this up. */
function adviceOn(code: string): string {
  if (['UnauthorizedOperation', 'AccessDeniedException', 'AccessDenied'].includes(code)) {
    return ' (allow the role ec2:DescribeInstances, or for service=ecs ecs:ListClusters, ecs:ListTasks, ecs:DescribeTasks)';
  }
  if (['AuthFailure', 'InvalidClientTokenId', 'UnrecognizedClientException'].includes(code)) {
    return ' (the keys are wrong or expired, or the clock of this host is)';
  }
  if (['RequestExpired', 'SignatureDoesNotMatch', 'InvalidSignatureException'].includes(code)) {
    return ' (check the secret key and the clock of this host)';
  }
  return '';
}
