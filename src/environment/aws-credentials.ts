/**
 * Where an agent on AWS gets its keys from. In order: the environment, the shared file, the role of the ECS task, the
 * role of the instance (reference/container-environments.md §11). The first source that is set up is the one: a source
 * that is set up and fails is an error to mend, not a reason to go on with somebody else's rights. No text made here
 * holds a key.
 */
import { isLoopback } from './address.ts';
import type { AwsCredentials } from './aws-signature.ts';
import { type Ec2Metadata, hopLimitFix, openEc2Metadata } from './ec2-metadata.ts';
import { readEcsTask } from './ecs-metadata.ts';
import { type ProbePorts, within } from './probe-ports.ts';

/** What finding keys and region asks of this machine. */
export type AwsPorts = Pick<ProbePorts, 'clock' | 'http' | 'readFile' | 'variables'>;

export interface FoundCredentials {
  readonly credentials: AwsCredentials;
  /** For people: `role web of the instance`. */
  readonly source: string;
}

/** The ECS agent may ask another service first, ms. */
const taskRoleMs = 5_000;
/** The metadata service is one hop away, ms. */
const metadataMs = 1_000;
/** Where ECS tasks get their keys; anywhere else they would be sent over the network in clear. */
const taskRoleHosts = ['169.254.170.2', '169.254.170.23', 'fd00:ec2::23', 'localhost'];

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);

/** @throws Error that names every source, why it gave nothing, and what to set */
export async function findCredentials(ports: AwsPorts, signal: AbortSignal): Promise<FoundCredentials> {
  const { variables } = ports;
  const fromVariables = credentialsOf(
    variables['AWS_ACCESS_KEY_ID'],
    variables['AWS_SECRET_ACCESS_KEY'],
    variables['AWS_SESSION_TOKEN'],
  );
  if (fromVariables !== undefined) return { credentials: fromVariables, source: 'environment' };
  const fromFile = await readSharedFile(ports);
  if (fromFile !== undefined) return fromFile;
  const taskRole = taskRoleUrl(variables);
  if (taskRole !== undefined) return askTaskRole(ports, taskRole, signal);
  if (variables['AWS_EC2_METADATA_DISABLED'] === 'true') {
    throw new Error(
      'no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (the metadata service is switched off by AWS_EC2_METADATA_DISABLED)',
    );
  }
  return askInstanceRole(ports, signal);
}

function credentialsOf(accessKeyId: unknown, secretAccessKey: unknown, token: unknown): AwsCredentials | undefined {
  const [id, secret, sessionToken] = [text(accessKeyId), text(secretAccessKey), text(token)];
  if (id === undefined || secret === undefined) return undefined;
  return { accessKeyId: id, secretAccessKey: secret, ...(sessionToken !== undefined && { sessionToken }) };
}

async function readSharedFile({ variables, readFile }: AwsPorts): Promise<FoundCredentials | undefined> {
  const home = text(variables['HOME']);
  const path =
    text(variables['AWS_SHARED_CREDENTIALS_FILE']) ?? (home === undefined ? undefined : `${home}/.aws/credentials`);
  const content = path === undefined ? undefined : await readFile(path);
  if (content === undefined) return undefined;
  const profile = text(variables['AWS_PROFILE']) ?? 'default';
  const values = iniSection(content, profile);
  const credentials = credentialsOf(
    values['aws_access_key_id'],
    values['aws_secret_access_key'],
    values['aws_session_token'],
  );
  return credentials && { credentials, source: `profile ${profile} in ${path}` };
}

/** `key = value` lines of one section; a later line wins. */
function iniSection(content: string, section: string): Readonly<Record<string, string>> {
  const values: Record<string, string> = {};
  let current = '';
  for (const line of content.split('\n')) {
    const name = /^\s*\[([^\]]*)\]/.exec(line)?.[1];
    const [, key, value] = /^\s*([^\s=#;]+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (name !== undefined) current = name.trim();
    else if (current === section && key !== undefined) values[key] = value ?? '';
  }
  return values;
}

function taskRoleUrl(variables: AwsPorts['variables']): string | undefined {
  const relative = text(variables['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI']);
  return relative === undefined
    ? text(variables['AWS_CONTAINER_CREDENTIALS_FULL_URI'])
    : `http://169.254.170.2${relative}`;
}

async function askTaskRole(ports: AwsPorts, url: string, signal: AbortSignal): Promise<FoundCredentials> {
  const { clock, http, readFile, variables } = ports;
  // The path of such an address is as good as a password to neighbours on the host.
  const where = `the credentials of the ECS task (${URL.canParse(url) ? new URL(url).host : 'not a URL'})`;
  try {
    const { protocol, hostname } = new URL(url);
    const host = hostname.replace(/^\[|\]$/g, '');
    if (protocol !== 'https:' && !taskRoleHosts.includes(host) && !isLoopback(host)) {
      throw new Error('AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, loopback, or an address of ECS or EKS');
    }
    const file = text(variables['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE']);
    const authorization =
      (file === undefined ? undefined : text((await readFile(file))?.trim())) ??
      text(variables['AWS_CONTAINER_AUTHORIZATION_TOKEN']);
    const { status, body } = await within(clock, taskRoleMs, signal, (limit) =>
      http({
        method: 'GET',
        url,
        headers: authorization === undefined ? {} : { Authorization: authorization },
        signal: limit,
      }),
    );
    if (status !== 200) throw new Error(`answered ${status}`);
    return { credentials: roleDocument(body), source: 'role of the ECS task' };
  } catch (error) {
    throw new Error(
      `${where} cannot be had: ${(error as Error).message}; check taskRoleArn of the task definition and, for bridge and host networks, ECS_ENABLE_TASK_IAM_ROLE and ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST in /etc/ecs/ecs.config`,
      { cause: error },
    );
  }
}

async function askInstanceRole(ports: AwsPorts, signal: AbortSignal): Promise<FoundCredentials> {
  const folder = '/latest/meta-data/iam/security-credentials/';
  try {
    return await askMetadata(ports, signal, async (metadata) => {
      const roles = await metadata.get(folder);
      const role = roles.body.split('\n')[0]?.trim() ?? '';
      if (roles.status === 404 || role === '') {
        throw new Error('the instance has no role; give it an instance profile that allows ec2:DescribeInstances');
      }
      const { status, body } = await metadata.get(`${folder}${encodeURIComponent(role)}`);
      if (roles.status !== 200 || status !== 200) throw new Error(`answered ${roles.status} and ${status}`);
      return { credentials: roleDocument(body), source: `role ${role} of the instance` };
    });
  } catch (error) {
    throw new Error(
      `no AWS credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, this is no ECS task with a role, and EC2 instance metadata: ${(error as Error).message}`,
      { cause: error },
    );
  }
}

/** Asks the metadata service; a silent one gets the hop limit into its error. */
async function askMetadata<T>(
  ports: AwsPorts,
  signal: AbortSignal,
  ask: (metadata: Ec2Metadata) => Promise<T>,
): Promise<T> {
  let tokenTimedOut = false;
  const metadata = await openEc2Metadata(ports, signal, {
    exchangeMs: metadataMs,
    onTokenTimeout: () => (tokenTimedOut = true),
  });
  try {
    return await ask(metadata);
  } catch (error) {
    if (!tokenTimedOut) throw error;
    throw new Error(
      `${(error as Error).message}. In a bridge container the token's answer dies on the way when the hop limit is 1: ${hopLimitFix}, or start the container with --network host`,
      { cause: error },
    );
  }
}

/** What both kinds of role answer. */
function roleDocument(body: string): AwsCredentials {
  let document: Readonly<Record<string, unknown>>;
  try {
    document = JSON.parse(body) as Readonly<Record<string, unknown>>;
  } catch {
    throw new Error('answered something that is not JSON');
  }
  const code = text(document['Code']) ?? 'Success';
  const credentials = credentialsOf(document['AccessKeyId'], document['SecretAccessKey'], document['Token']);
  if (code !== 'Success' || credentials === undefined) throw new Error(`answered without credentials (code ${code})`);
  return credentials;
}

/** The region this agent runs in: variables, the ECS task, the instance. @throws Error that says what to set */
export async function findRegion(ports: AwsPorts, signal: AbortSignal): Promise<string> {
  const { variables } = ports;
  const given = text(variables['AWS_REGION']) ?? text(variables['AWS_DEFAULT_REGION']);
  if (given !== undefined) return given;
  const task = await readEcsTask(ports, definedOnly(variables), signal);
  const fromTask = task.state === 'found' ? task.value.taskArn?.split(':')[3] : undefined;
  if (fromTask !== undefined) return fromTask;
  try {
    return await askMetadata(ports, signal, async (metadata) => {
      const { status, body } = await metadata.get('/latest/dynamic/instance-identity/document');
      const region = status === 200 ? (JSON.parse(body) as { readonly region?: unknown }).region : undefined;
      if (typeof region !== 'string') throw new Error(`the identity document (status ${status}) names no region`);
      return region;
    });
  } catch (error) {
    throw new Error(
      `the AWS region is not known: add region=… to the join string or set AWS_REGION (EC2 instance metadata: ${(error as Error).message})`,
      { cause: error },
    );
  }
}

function definedOnly(variables: AwsPorts['variables']): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(variables).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
