/**
 * Addresses of ECS tasks that carry a tag, `service=ecs`: the tasks of a cluster, then what they are. Only tasks with
 * a network interface of their own (awsvpc) have an address of their own; others are on an instance, whose tags EC2
 * knows.
 */
import { type AwsClient, call } from './aws-api.ts';
import type { TagFilter } from './ec2-discover.ts';

export interface TaskFilter extends TagFilter {
  /** Name or ARN; undefined looks through all clusters. */
  readonly cluster: string | undefined;
  readonly family: string | undefined;
}

/** Tasks that one DescribeTasks takes, and ids on a page of a list. */
const pageSize = 100;
/** Pages of one list; 10 000 tasks of one cluster are more than it can have. */
const pagesMax = 100;

type Document = Readonly<Record<string, unknown>>;
const documents = (value: unknown): readonly Document[] =>
  Array.isArray(value) ? value.filter((each): each is Document => typeof each === 'object' && each !== null) : [];
const texts = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];

/** Private IPv4 addresses, each once. @throws Error of {@link call}, or when tasks match and none has an address */
export async function discoverTasks(client: AwsClient, filter: TaskFilter): Promise<readonly string[]> {
  const clusters =
    filter.cluster === undefined ? await listAll(client, 'ListClusters', 'clusterArns', {}) : [filter.cluster];
  const addresses = new Set<string>();
  let matching = 0;
  for (const cluster of clusters) {
    const arns = await listAll(client, 'ListTasks', 'taskArns', {
      cluster,
      desiredStatus: 'RUNNING',
      ...(filter.family !== undefined && { family: filter.family }),
    });
    for (let first = 0; first < arns.length; first += pageSize) {
      const answer = await ask(client, 'DescribeTasks', {
        cluster,
        tasks: arns.slice(first, first + pageSize),
        include: ['TAGS'],
      });
      for (const task of documents(answer['tasks'])) {
        if (!documents(task['tags']).some(({ key, value }) => key === filter.tagKey && value === filter.tagValue))
          continue;
        matching++;
        for (const address of addressesOf(task)) addresses.add(address);
      }
    }
  }
  if (matching > 0 && addresses.size === 0) {
    throw new Error(
      `${matching} tasks with tag ${filter.tagKey}=${filter.tagValue} run in bridge or host mode and have no address of their own; tag their instances and use service=ec2`,
    );
  }
  return [...addresses];
}

function addressesOf(task: Document): readonly string[] {
  return documents(task['attachments'])
    .flatMap(({ details }) => documents(details))
    .flatMap(({ name, value }) => (name === 'privateIPv4Address' && typeof value === 'string' ? [value] : []));
}

async function listAll(
  client: AwsClient,
  action: 'ListClusters' | 'ListTasks',
  key: string,
  parameters: Document,
): Promise<readonly string[]> {
  const found: string[] = [];
  let nextToken: unknown;
  for (let page = 0; page < pagesMax; page++) {
    const answer = await ask(client, action, {
      ...parameters,
      maxResults: pageSize,
      ...(typeof nextToken === 'string' && { nextToken }),
    });
    found.push(...texts(answer[key]));
    nextToken = answer['nextToken'];
    if (typeof nextToken !== 'string' || nextToken === '') return found;
  }
  throw new Error(`${action} has more than ${pagesMax} pages; name one cluster with ecs_cluster=…`);
}

async function ask(client: AwsClient, action: string, parameters: Document): Promise<Document> {
  const headers = {
    'Content-Type': 'application/x-amz-json-1.1',
    'X-Amz-Target': `AmazonEC2ContainerServiceV20141113.${action}`,
  };
  const body = await call(client, headers, JSON.stringify(parameters));
  try {
    const document: unknown = JSON.parse(body);
    if (typeof document === 'object' && document !== null) return document as Document;
  } catch {
    // Said below.
  }
  throw new Error(`${client.endpoint} answered ${action} with something that is not a JSON object`);
}
