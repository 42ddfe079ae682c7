/**
 * Cloud auto-join: `provider=aws tag_key=role tag_value=server` in a `retry_join` list stands for the addresses of all
 * machines with that tag, looked up at every attempt, so that no list of servers is ever out of date
 * (reference/agent.md §2.6).
 */
import type { Logger } from '../ports/index.ts';
import { endpointOf } from './aws-api.ts';
import { type AwsPorts, findCredentials, findRegion, type FoundCredentials } from './aws-credentials.ts';
import { type AddressType, discoverInstances } from './ec2-discover.ts';
import { discoverTasks } from './ecs-discover.ts';

export interface JoinPorts extends AwsPorts {
  readonly logger: Logger;
}

/** One lookup, all its requests together, ms; longer than a retry interval it must not take. */
const lookupMs = 30_000;

const addressTypes: readonly AddressType[] = ['private_v4', 'public_v4', 'public_v6'];
const supported =
  'supported here: aws (tag_key, tag_value, region, addr_type, access_key_id, secret_access_key, service, ecs_cluster, ecs_family, endpoint). For other clouds write addresses or DNS names of members';
const awsKeys = new Set([
  'provider',
  'region',
  'tag_key',
  'tag_value',
  'addr_type',
  'access_key_id',
  'secret_access_key',
  'service',
  'ecs_cluster',
  'ecs_family',
  'endpoint',
]);

/** Whether an entry of `retry_join` asks a cloud. */
const isProviderString = (entry: string): boolean => entry.includes('provider=');

/**
 * `key=value key="with \"space\""` → map. Values with spaces, quotes or backslashes stand in double quotes, within which
 * a backslash stands for the character after it. @throws Error that says where it is wrong
 */
export function parseProviderString(entry: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const pair = /\s*([^\s="\\]+)=(?:"((?:[^"\\]|\\[\s\S])*)"|([^\s"\\]*))(?=\s|$)|\s+$/y;
  let at = 0;
  while (at < entry.length) {
    pair.lastIndex = at;
    const match = pair.exec(entry);
    if (match === null) {
      // No excerpt: the text may be the middle of a secret.
      throw new Error(
        `discover: the join string is not key=value at character ${at + 1}; values with spaces, quotes or backslashes need double quotes`,
      );
    }
    const [whole, key, quoted, plain = ''] = match;
    at += whole.length;
    if (key === undefined) continue;
    if (values.has(key)) throw new Error(`discover: ${key}= is there twice in the join string`);
    values.set(key, quoted === undefined ? plain : quoted.replace(/\\([\s\S])/g, '$1'));
  }
  return values;
}

/**
 * The addresses that an entry of `retry_join` stands for: itself, or what the cloud says. IP addresses without port,
 * IPv6 without brackets; none when nothing carries the tag (yet).
 *
 * @throws Error with what to set, never with a secret
 */
export async function resolveJoinAddresses(
  entry: string,
  ports: JoinPorts,
  signal: AbortSignal = new AbortController().signal,
): Promise<readonly string[]> {
  if (!isProviderString(entry)) return [entry];
  const values = parseProviderString(entry);
  const provider = values.get('provider');
  if (provider !== 'aws') throw new Error(`discover: unknown provider ${provider ?? 'none'}; ${supported}`);

  const limit = new AbortController();
  const timer = ports.clock.after(lookupMs, () => limit.abort(new Error(`no answer within ${lookupMs} ms`)));
  try {
    return await askAws(values, ports, AbortSignal.any([signal, limit.signal]));
  } catch (error) {
    throw new Error(`discover-aws: ${(error as Error).message}`, { cause: error });
  } finally {
    timer.cancel();
  }
}

async function askAws(
  values: ReadonlyMap<string, string>,
  ports: JoinPorts,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const unknown = [...values.keys()].filter((key) => !awsKeys.has(key));
  if (unknown.length > 0) throw new Error(`unknown key ${unknown.join(', ')}; ${supported}`);
  const value = (key: string): string | undefined => values.get(key) || undefined;
  const [tagKey, tagValue] = [value('tag_key'), value('tag_value')];
  if (tagKey === undefined || tagValue === undefined) {
    throw new Error('tag_key=… and tag_value=… say which instances to join; give both');
  }
  const service = value('service') ?? 'ec2';
  if (service !== 'ec2' && service !== 'ecs') throw new Error(`service=${service} is not known; use ec2 or ecs`);

  const region = value('region') ?? (await findRegion(ports, signal));
  const { credentials, source } = givenCredentials(values) ?? (await findCredentials(ports, signal));
  const endpoint = value('endpoint') ?? endpointOf(service, region, ports.variables);
  ports.logger.debug('Asking for addresses', { service, region, endpoint, tag: `${tagKey}=${tagValue}`, source });
  const client = { ports, service, region, endpoint, credentials, signal } as const;
  const addresses =
    service === 'ec2'
      ? await discoverInstances(client, { tagKey, tagValue }, addressType(value('addr_type'), ports.logger))
      : await discoverTasks(client, {
          tagKey,
          tagValue,
          cluster: value('ecs_cluster'),
          family: value('ecs_family'),
        });
  ports.logger.debug('Discovered', { addresses });
  return addresses;
}

function givenCredentials(values: ReadonlyMap<string, string>): FoundCredentials | undefined {
  const accessKeyId = values.get('access_key_id') ?? '';
  const secretAccessKey = values.get('secret_access_key') ?? '';
  if (accessKeyId === '' && secretAccessKey === '') return undefined;
  if (accessKeyId === '' || secretAccessKey === '') {
    throw new Error('access_key_id=… and secret_access_key=… belong together; give both or neither');
  }
  return { credentials: { accessKeyId, secretAccessKey }, source: 'join string' };
}

/** As the original does, another value is taken for the default. */
function addressType(text: string | undefined, logger: Logger): AddressType {
  const type = addressTypes.find((each) => each === text);
  if (type === undefined && text !== undefined) {
    logger.warn(`addr_type=${text} is not one of ${addressTypes.join(', ')}; using private_v4`);
  }
  return type ?? 'private_v4';
}
