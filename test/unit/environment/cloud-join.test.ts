// Cloud auto-join against a simulated AWS: where keys and region come from, what is asked, and what is said when it
// does not work.
import { describe, expect, test } from 'vitest';
import { signRequest } from '../../../src/environment/aws-signature.ts';
import { parseProviderString } from '../../../src/environment/cloud-join.ts';
import { type HttpRequest, type JoinPorts, resolveJoinAddresses } from '../../../src/environment/index.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { recordingLogger } from '../../helpers/logger.ts';

type Request = Parameters<HttpRequest>[0];
/** Null is silence. */
type Answer = string | { readonly status: number; readonly body: string } | null;

/** Keys that must never be seen in a log line or an error. */
const secrets = ['TOPSECRET', 'SESSION', 'opaque-path'];
const keys = { AWS_ACCESS_KEY_ID: 'AKID', AWS_SECRET_ACCESS_KEY: 'TOPSECRET' };
const tags = 'tag_key=role tag_value=server';
const wallMs = Date.UTC(2026, 10, 21);

interface World {
  readonly variables?: Readonly<Record<string, string>>;
  readonly files?: Readonly<Record<string, string>>;
  /** `GET http://…/path` → answer; what is not there refuses the connection. */
  readonly answers?: Readonly<Record<string, Answer | ((request: Request) => Answer)>>;
}

function world({ variables = {}, files = {}, answers = {} }: World) {
  const clock = new VirtualClock({ wallStartMs: wallMs, drain: () => new Promise((resolve) => setImmediate(resolve)) });
  const { logger, lines } = recordingLogger();
  const requests: Request[] = [];
  const ports: JoinPorts = {
    clock,
    logger,
    variables,
    readFile: (path) => Promise.resolve(files[path]),
    http: (request) => {
      requests.push(request);
      const found = answers[`${request.method} ${request.url}`];
      const answer = typeof found === 'function' ? found(request) : found;
      if (answer === undefined) {
        return Promise.reject(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }));
      }
      if (answer === null) {
        return new Promise((_, reject) =>
          request.signal.addEventListener('abort', () => reject(request.signal.reason as Error)),
        );
      }
      return Promise.resolve({ headers: {}, ...(typeof answer === 'string' ? { status: 200, body: answer } : answer) });
    },
  };
  /** What the entry stands for, or the error's text; no secret may be in it or in the log. */
  const resolve = async (entry: string): Promise<readonly string[] | string> => {
    let outcome: readonly string[] | string | undefined;
    void resolveJoinAddresses(entry, ports)
      .catch((error: unknown) => (error as Error).message)
      .then((value) => (outcome = value));
    await clock.advance(60_000);
    const seen = JSON.stringify([outcome, lines]);
    for (const secret of secrets) expect(seen).not.toContain(secret);
    return outcome!;
  };
  return { resolve, requests, lines, ports, clock };
}

const instance = (fields: string): string =>
  `<item><reservationId>r-1</reservationId><instancesSet><item>${fields}</item></instancesSet></item>`;
const instances = (items: readonly string[], nextToken = ''): string =>
  `<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>8f7724cf</requestId>
  <reservationSet>${items.join('\n')}</reservationSet>${nextToken && `<nextToken>${nextToken}</nextToken>`}
</DescribeInstancesResponse>`;
const both = instances([
  instance(
    '<privateIpAddress>10.0.1.11</privateIpAddress><ipAddress>203.0.113.11</ipAddress><networkInterfaceSet><item><ipv6AddressesSet><item><ipv6Address>2001:db8::11</ipv6Address></item></ipv6AddressesSet></item></networkInterfaceSet>',
  ),
  instance('<privateIpAddress>10.0.1.12</privateIpAddress><networkInterfaceSet/>'),
]);
const ec2 = 'POST https://ec2.eu-west-1.amazonaws.com/';
const inEurope = { ...keys, AWS_REGION: 'eu-west-1' };

const imds = 'http://169.254.169.254';
const roleFolder = `GET ${imds}/latest/meta-data/iam/security-credentials/`;
const identity = `GET ${imds}/latest/dynamic/instance-identity/document`;
const roleKeys = '{"Code":"Success","AccessKeyId":"ROLEKEY","SecretAccessKey":"TOPSECRET","Token":"SESSION"}';
/** An instance with a role that answers version 2 only. */
const withToken =
  (body: string) =>
  ({ headers }: Request): Answer =>
    headers['X-aws-ec2-metadata-token'] === 'TOKEN' ? body : { status: 401, body: '' };
const onInstance = {
  [`PUT ${imds}/latest/api/token`]: 'TOKEN',
  [roleFolder]: withToken('harbour'),
  [`${roleFolder}harbour`]: withToken(roleKeys),
  [identity]: withToken('{"region":"eu-west-1"}'),
};

test('an address or a name stands for itself', async () => {
  const { resolve, requests } = world({});
  expect(await resolve('consul.example.com:8301')).toEqual(['consul.example.com:8301']);
  expect(requests).toEqual([]);
});

describe('the join string', () => {
  test.each([
    ['provider=aws tag_key=a', { provider: 'aws', tag_key: 'a' }],
    [' provider=aws   tag_value="two words" ', { provider: 'aws', tag_value: 'two words' }],
    ['a="q\\"b\\\\c" provider=x', { a: 'q"b\\c', provider: 'x' }],
    ['a= b="" provider=x', { a: '', b: '', provider: 'x' }],
    ['tag_value=a=b provider=x', { tag_value: 'a=b', provider: 'x' }],
  ])('%s', (entry, values) => {
    expect(Object.fromEntries(parseProviderString(entry))).toEqual(values);
  });

  test.each([
    ['provider=aws tag_value', 'not key=value at character 13'],
    ['provider=aws tag_value=a"b"', 'not key=value at character 13'],
    ['provider=aws tag_value="a', 'not key=value at character 13'],
    ['provider=aws tag_value="a"b', 'not key=value at character 13'],
    ['provider=aws tag_key=a tag_key=b', 'tag_key= is there twice'],
  ])('%s is refused', (entry, reason) => {
    expect(() => parseProviderString(entry)).toThrow(reason);
  });

  test.each([
    [
      `provider=gce project_name=x ${tags}`,
      /^discover: unknown provider gce; supported here: aws \(tag_key, .*write addresses or DNS names/,
    ],
    ['tag_key=provider=aws', /^discover: unknown provider none/],
    ['provider=aws tag_key=role', /^discover-aws: tag_key=… and tag_value=… .*give both/],
    [`provider=aws ${tags} zone=a`, /^discover-aws: unknown key zone; supported here/],
    [`provider=aws ${tags} service=eks`, /^discover-aws: service=eks is not known; use ec2 or ecs/],
    [`provider=aws ${tags} access_key_id=AKID region=eu-west-1`, /belong together; give both or neither/],
    [`provider=aws ${tags} region=eu.example.com/`, /"eu.example.com\/" is not the name of an AWS region/],
  ])('%s asks nobody', async (entry, reason) => {
    const { resolve, requests } = world({ variables: keys });
    expect(await resolve(entry)).toMatch(reason);
    expect(requests).toEqual([]);
  });
});

describe('instances', () => {
  test.each([
    ['', ['10.0.1.11', '10.0.1.12']],
    ['addr_type=private_v4', ['10.0.1.11', '10.0.1.12']],
    ['addr_type=public_v4', ['203.0.113.11']],
    ['addr_type=public_v6', ['2001:db8::11']],
  ])('%s', async (more, addresses) => {
    const { resolve, lines } = world({ variables: inEurope, answers: { [ec2]: both } });
    expect(await resolve(`provider=aws ${tags} ${more}`)).toEqual(addresses);
    expect(lines.filter((line) => line.startsWith('WARN'))).toEqual([]);
  });

  test('another addr_type is taken for the default, with a warning', async () => {
    const { resolve, lines } = world({ variables: inEurope, answers: { [ec2]: both } });
    expect(await resolve(`provider=aws ${tags} addr_type=private`)).toEqual(['10.0.1.11', '10.0.1.12']);
    expect(lines).toContain('WARN addr_type=private is not one of private_v4, public_v4, public_v6; using private_v4');
  });

  test('are asked for by tag and state, in a request that is signed', async () => {
    const { resolve, requests } = world({ variables: inEurope, answers: { [ec2]: both } });
    await resolve('provider=aws tag_key="my role" tag_value=a&b');
    const [{ method, url, headers, body }] = requests as [Required<Request>];
    expect(Object.fromEntries(new URLSearchParams(body))).toEqual({
      Action: 'DescribeInstances',
      Version: '2016-11-15',
      MaxResults: '100',
      'Filter.1.Name': 'tag:my role',
      'Filter.1.Value.1': 'a&b',
      'Filter.2.Name': 'instance-state-name',
      'Filter.2.Value.1': 'running',
    });
    const { 'Content-Type': type, Accept, ...signed } = headers;
    const again = signRequest(
      { method, url, headers: { 'Content-Type': type!, Accept: Accept! }, body },
      { region: 'eu-west-1', service: 'ec2', wallMs },
      { accessKeyId: 'AKID', secretAccessKey: 'TOPSECRET' },
    );
    expect(again).toMatchObject(signed);
  });

  test('come page by page, each address once', async () => {
    const page = ({ body = '' }: Request): string => {
      const token = new URLSearchParams(body).get('NextToken');
      const item = (last: number): string => instance(`<privateIpAddress>10.0.0.${last}</privateIpAddress>`);
      return token === null
        ? instances([item(1), item(2)], 'n&#61;2')
        : instances([item(2), item(token === 'n=2' ? 3 : 9)]);
    };
    const { resolve, requests } = world({ variables: inEurope, answers: { [ec2]: page } });
    expect(await resolve(`provider=aws ${tags}`)).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
    expect(requests).toHaveLength(2);
  });

  test('none with the tag is no error', async () => {
    const { resolve } = world({ variables: inEurope, answers: { [ec2]: instances([]) } });
    expect(await resolve(`provider=aws ${tags}`)).toEqual([]);
  });

  test('pages without end have one', async () => {
    const { resolve, requests } = world({ variables: inEurope, answers: { [ec2]: instances([], 'again') } });
    expect(await resolve(`provider=aws ${tags}`)).toMatch(/on more than 10000 instances/);
    expect(requests).toHaveLength(100);
  });

  test.each([
    ['<a/>', /answered <a> instead of <DescribeInstancesResponse>/],
    ['<html><p>Welcome to the <b>hotel</p>', /not the XML we read/],
  ])('an answer that is none: %s', async (body, reason) => {
    const { resolve } = world({ variables: inEurope, answers: { [ec2]: body } });
    expect(await resolve(`provider=aws ${tags}`)).toMatch(reason);
  });

  test.each([
    ['UnauthorizedOperation', 403, /403 UnauthorizedOperation: no\. \(allow the role ec2:DescribeInstances/],
    ['AuthFailure', 401, /\(the keys are wrong or expired, or the clock of this host is\)/],
    ['RequestExpired', 400, /\(check the secret key and the clock/],
    ['Unavailable', 503, /503 Unavailable: no\.$/],
  ])('%s is said with what to do', async (code, status, reason) => {
    const body = `<Response><Errors><Error><Code>${code}</Code><Message>no.</Message></Error></Errors></Response>`;
    const { resolve } = world({ variables: inEurope, answers: { [ec2]: { status, body } } });
    expect(await resolve(`provider=aws ${tags}`)).toMatch(reason);
  });

  test('a network without a way out is said so', async () => {
    const refused = await world({ variables: inEurope }).resolve(`provider=aws ${tags}`);
    expect(refused).toMatch(/ec2\.eu-west-1\.amazonaws\.com cannot be reached: .*VPC endpoint for ec2/);
    const silent = world({ variables: inEurope, answers: { [ec2]: null } });
    expect(await silent.resolve(`provider=aws ${tags}`)).toMatch(/no answer within 15000 ms/);
  });

  test.each([
    [{}, '', 'https://ec2.eu-west-1.amazonaws.com/'],
    [{ AWS_REGION: 'cn-north-1' }, '', 'https://ec2.cn-north-1.amazonaws.com.cn/'],
    [{}, 'region=us-east-2', 'https://ec2.us-east-2.amazonaws.com/'],
    [{ AWS_ENDPOINT_URL: 'http://10.9.9.9:4566' }, '', 'http://10.9.9.9:4566/'],
    [{ AWS_ENDPOINT_URL: 'http://a', AWS_ENDPOINT_URL_EC2: 'http://b/' }, '', 'http://b/'],
    [{ AWS_ENDPOINT_URL_EC2: 'http://b' }, 'endpoint=http://c', 'http://c/'],
  ])('endpoint of %o %s', async (variables, more, endpoint) => {
    const { resolve, requests } = world({
      variables: { ...inEurope, ...variables },
      answers: { [`POST ${endpoint}`]: both },
    });
    expect(await resolve(`provider=aws ${tags} ${more}`)).toHaveLength(2);
    expect(requests.map(({ url }) => url)).toEqual([endpoint]);
  });
});

/** `AKID/20261121/eu-west-1` of the signed request. */
const signedBy = (requests: readonly Request[]): string =>
  /Credential=(\S+)\/ec2\//.exec(requests.at(-1)!.headers['Authorization'] ?? '')?.[1] ?? '';

describe('keys come from', () => {
  const entry = `provider=aws ${tags}`;

  test('the join string before anything else', async () => {
    const { resolve, requests } = world({ variables: inEurope, answers: { [ec2]: both } });
    await resolve(`${entry} access_key_id=GIVEN secret_access_key=TOPSECRET`);
    expect(signedBy(requests)).toBe('GIVEN/20261121/eu-west-1');
  });

  test('the environment', async () => {
    const variables = { ...inEurope, AWS_SESSION_TOKEN: 'SESSION', AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: '/x' };
    const { resolve, requests } = world({ variables, answers: { [ec2]: both } });
    await resolve(entry);
    expect(signedBy(requests)).toBe('AKID/20261121/eu-west-1');
    expect(requests[0]!.headers['X-Amz-Security-Token']).toBe('SESSION');
  });

  test.each([
    [{ HOME: '/root' }, '/root/.aws/credentials', 'ONE'],
    [{ HOME: '/root', AWS_PROFILE: 'two' }, '/root/.aws/credentials', 'TWO'],
    [{ AWS_SHARED_CREDENTIALS_FILE: '/etc/keys' }, '/etc/keys', 'ONE'],
  ])('the shared file %o', async (variables, path, key) => {
    const file =
      '# keys\n[default]\naws_access_key_id = ONE\naws_secret_access_key=TOPSECRET\n[ two ]\naws_access_key_id=TWO\naws_secret_access_key=TOPSECRET\n';
    const { resolve, requests } = world({
      variables: { AWS_REGION: 'eu-west-1', ...variables },
      files: { [path]: file },
      answers: { [ec2]: both },
    });
    await resolve(entry);
    expect(signedBy(requests)).toBe(`${key}/20261121/eu-west-1`);
  });

  test.each([
    [{ AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: '/v2/opaque-path' }, 'http://169.254.170.2/v2/opaque-path'],
    [
      { AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://127.0.0.1:51679/opaque-path' },
      'http://127.0.0.1:51679/opaque-path',
    ],
    [{ AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://[fd00:ec2::23]/v1' }, 'http://[fd00:ec2::23]/v1'],
    [{ AWS_CONTAINER_CREDENTIALS_FULL_URI: 'https://keys.example.com/' }, 'https://keys.example.com/'],
  ])('the role of the ECS task %o', async (variables, url) => {
    const { resolve, requests } = world({
      variables: { AWS_REGION: 'eu-west-1', ...variables },
      answers: { [`GET ${url}`]: roleKeys, [ec2]: both },
    });
    expect(await resolve(entry)).toHaveLength(2);
    expect(signedBy(requests)).toBe('ROLEKEY/20261121/eu-west-1');
    expect(requests[1]!.headers['X-Amz-Security-Token']).toBe('SESSION');
  });

  test('the role of the ECS task, with the token of a file or a variable', async () => {
    const variables = {
      AWS_REGION: 'eu-west-1',
      AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://169.254.170.23/v1',
      AWS_CONTAINER_AUTHORIZATION_TOKEN: 'SESSION-1',
    };
    const answers = { 'GET http://169.254.170.23/v1': roleKeys, [ec2]: both };
    const one = world({ variables, answers });
    await one.resolve(entry);
    expect(one.requests[0]!.headers['Authorization']).toBe('SESSION-1');
    const two = world({
      variables: { ...variables, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: '/token' },
      files: { '/token': 'SESSION-2\n' },
      answers,
    });
    await two.resolve(entry);
    expect(two.requests[0]!.headers['Authorization']).toBe('SESSION-2');
  });

  test('the role of the instance, and so does the region', async () => {
    const { resolve, requests } = world({ answers: { ...onInstance, [ec2]: both } });
    expect(await resolve(entry)).toEqual(['10.0.1.11', '10.0.1.12']);
    expect(signedBy(requests)).toBe('ROLEKEY/20261121/eu-west-1');
  });

  test('the role of the instance by version 1 where no token is given out', async () => {
    const answers = { [roleFolder]: 'harbour\nother', [`${roleFolder}harbour`]: roleKeys, [ec2]: both };
    const { resolve } = world({ variables: { AWS_DEFAULT_REGION: 'eu-west-1' }, answers });
    expect(await resolve(entry)).toHaveLength(2);
  });
});

describe('the region comes from', () => {
  test('the ECS task', async () => {
    const { resolve, requests } = world({
      variables: { ...keys, ECS_CONTAINER_METADATA_URI_V4: 'http://169.254.170.2/v4/x' },
      answers: {
        'GET http://169.254.170.2/v4/x/task': '{"TaskARN":"arn:aws:ecs:eu-west-1:1:task/c/1"}',
        [ec2]: both,
      },
    });
    expect(await resolve(`provider=aws ${tags}`)).toHaveLength(2);
    expect(signedBy(requests)).toBe('AKID/20261121/eu-west-1');
  });
});

describe('what to set is said', () => {
  const entry = `provider=aws ${tags}`;
  test.each<[string, World, RegExp]>([
    [
      'without region',
      { variables: keys },
      /^discover-aws: the AWS region is not known: add region=… to the join string or set AWS_REGION .*ECONNREFUSED/,
    ],
    [
      'when no token arrives and the instance wants one',
      {
        variables: { AWS_REGION: 'eu-west-1' },
        answers: { [`PUT ${imds}/latest/api/token`]: null, [roleFolder]: { status: 401, body: '' } },
      },
      /no answer within 1000 ms, and the instance requires a token .*hop limit is 1: .*--http-put-response-hop-limit 2, or start the container with --network host/,
    ],
    [
      'when the region cannot be asked for the same reason',
      {
        variables: keys,
        answers: { [`PUT ${imds}/latest/api/token`]: null, [identity]: { status: 401, body: '' } },
      },
      /add region=….*--http-put-response-hop-limit 2/,
    ],
    [
      'when the instance has no role',
      { variables: { AWS_REGION: 'eu-west-1' }, answers: { ...onInstance, [roleFolder]: { status: 404, body: '' } } },
      /no AWS credentials: .*the instance has no role; give it an instance profile/,
    ],
    [
      'when the role has failed',
      {
        variables: { AWS_REGION: 'eu-west-1' },
        answers: { ...onInstance, [`${roleFolder}harbour`]: '{"Code":"AssumeRoleUnauthorizedAccess"}' },
      },
      /answered without credentials \(code AssumeRoleUnauthorizedAccess\)/,
    ],
    [
      'when the metadata service is switched off',
      { variables: { AWS_REGION: 'eu-west-1', AWS_EC2_METADATA_DISABLED: 'true' } },
      /set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY/,
    ],
    [
      'when the task has no role; the rights of the instance are not taken instead',
      {
        variables: { AWS_REGION: 'eu-west-1', AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: '/v2/opaque-path' },
        answers: { ...onInstance, 'GET http://169.254.170.2/v2/opaque-path': { status: 404, body: '' }, [ec2]: both },
      },
      /credentials of the ECS task \(169\.254\.170\.2\) cannot be had: answered 404; check taskRoleArn .*ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST/,
    ],
    [
      'when keys would be sent in clear',
      {
        variables: {
          AWS_REGION: 'eu-west-1',
          AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://keys.example.com/opaque-path',
        },
      },
      /must be https, loopback, or an address of ECS or EKS/,
    ],
    [
      'when the address of the keys is none',
      { variables: { AWS_REGION: 'eu-west-1', AWS_CONTAINER_CREDENTIALS_FULL_URI: 'opaque-path' } },
      /credentials of the ECS task \(not a URL\) cannot be had/,
    ],
  ])('%s', async (_, given, reason) => {
    expect(await world(given).resolve(entry)).toMatch(reason);
  });

  test('a lookup ends in half a minute whatever hangs', async () => {
    const answers = {
      ...onInstance,
      [ec2]: ({ body = '' }: Request): Answer => (body.includes('NextToken') ? null : instances([], 'more')),
    };
    expect(await world({ answers }).resolve(entry)).toMatch(/no answer within/);
  });

  test('a lookup ends when the agent does', async () => {
    const { ports, clock } = world({ variables: inEurope, answers: { [ec2]: null } });
    const stop = new AbortController();
    const lookup = expect(resolveJoinAddresses(entry, ports, stop.signal)).rejects.toThrow('stopping');
    await clock.advance(100);
    stop.abort(new Error('stopping'));
    await lookup;
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('tasks of ECS', () => {
  const ecs = 'POST https://ecs.eu-west-1.amazonaws.com/';
  const task = (role: string, address?: string) => ({
    tags: [{ key: 'role', value: role }],
    attachments:
      address === undefined
        ? []
        : [
            {
              type: 'ElasticNetworkInterface',
              details: [
                { name: 'subnetId', value: 'subnet-1' },
                { name: 'privateIPv4Address', value: address },
              ],
            },
          ],
  });

  /** Cluster `a` has tasks of two pages of ids, `b` has one that does not match. */
  function api(tasks: readonly object[]) {
    const asked: string[] = [];
    const answer = ({ headers, body = '' }: Request): string => {
      const action = headers['X-Amz-Target']!.split('.')[1]!;
      const given = JSON.parse(body) as { cluster?: string; family?: string; nextToken?: string; tasks?: string[] };
      asked.push(`${action} ${given.cluster ?? ''}${given.family ?? ''}${given.nextToken ?? ''}`);
      if (action === 'ListClusters') return JSON.stringify({ clusterArns: ['a', 'b'] });
      if (action === 'ListTasks') {
        if (given.cluster === 'b') return JSON.stringify({ taskArns: [] });
        return given.nextToken === undefined
          ? JSON.stringify({ taskArns: ['t1'], nextToken: '+' })
          : JSON.stringify({ taskArns: ['t2', 't3'], nextToken: null });
      }
      expect(given.tasks).toEqual(['t1', 't2', 't3']);
      return JSON.stringify({ tasks, failures: [] });
    };
    return { asked, answer };
  }

  test('of all clusters, by tag', async () => {
    const { asked, answer } = api([task('server', '10.0.2.1'), task('web', '10.0.2.2'), task('server', '10.0.2.3')]);
    const { resolve } = world({ variables: inEurope, answers: { [ecs]: answer } });
    expect(await resolve(`provider=aws service=ecs ${tags}`)).toEqual(['10.0.2.1', '10.0.2.3']);
    expect(asked).toEqual(['ListClusters ', 'ListTasks a', 'ListTasks a+', 'DescribeTasks a', 'ListTasks b']);
  });

  test('of one cluster and family', async () => {
    const { asked, answer } = api([task('server', '10.0.2.1')]);
    const { resolve } = world({ variables: inEurope, answers: { [ecs]: answer } });
    expect(await resolve(`provider=aws service=ecs ecs_cluster=a ecs_family=f ${tags}`)).toEqual(['10.0.2.1']);
    expect(asked).toEqual(['ListTasks af', 'ListTasks af+', 'DescribeTasks a']);
  });

  test('without an interface of their own are found by their instances', async () => {
    const { resolve } = world({ variables: inEurope, answers: { [ecs]: api([task('server')]).answer } });
    expect(await resolve(`provider=aws service=ecs ${tags}`)).toMatch(/tag their instances and use service=ec2/);
  });

  test('a refusal is said with what to allow', async () => {
    const body = '{"__type":"com.amazon#AccessDeniedException","Message":"no."}';
    const { resolve } = world({ variables: inEurope, answers: { [ecs]: { status: 400, body } } });
    expect(await resolve(`provider=aws service=ecs ${tags}`)).toMatch(
      /400 AccessDeniedException: no\. \(allow the role .*ecs:ListTasks/,
    );
  });
});
