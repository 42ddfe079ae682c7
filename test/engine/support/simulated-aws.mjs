// The parts of AWS that an agent on an ECS instance meets, simulated: a program because it runs in a network namespace.
//
//   node simulated-aws.mjs region   the metadata service (version 2 only) and EC2's API, on the network's side
//   node simulated-aws.mjs host     what the ECS agent serves on the instance itself
//
// Writes `ready` and then a line of JSON for each request, so that a test can see who was asked for what.
import { createServer } from 'node:http';

const instanceId = 'i-0a1b2c3d4e5f60718';
const region = 'eu-west-1';
const address = '10.0.1.10';
const roleName = 'container-instance';
const token = 'simulated-metadata-token';
const cluster = 'harbour';
const taskArn = `arn:aws:ecs:${region}:123456789012:task/${cluster}/0123456789abcdef0123456789abcdef`;
/** Access keys that EC2's API knows, with what has to come along. */
const keys = new Map([
  ['ASIAINSTANCE', { secret: 'instance-secret', session: 'instance-session' }],
  ['ASIATASK', { secret: 'task-secret', session: 'task-session' }],
]);
const document = (accessKeyId) => {
  const { secret, session } = keys.get(accessKeyId);
  const Expiration = new Date(Date.now() + 6 * 3600_000).toISOString();
  return JSON.stringify({
    Code: 'Success',
    Type: 'AWS-HMAC',
    AccessKeyId: accessKeyId,
    SecretAccessKey: secret,
    Token: session,
    Expiration,
  });
};

/** Two servers, one of which is gone, this instance, and one that has nothing to do with it. */
const instances = [
  { id: 'i-1', ip: '10.0.1.11', state: 'running', tags: { portolan: 'server' } },
  { id: 'i-2', ip: '10.0.1.99', state: 'terminated', tags: { portolan: 'server' } },
  { id: instanceId, ip: address, state: 'running', tags: { portolan: 'client' } },
  { id: 'i-4', ip: '10.0.1.98', state: 'running', tags: { portolan: 'servers' } },
];

/** Requests by service; each gives `[status, body, headers]` or nothing for 404. */
const services = {
  metadata({ method, path, headers }) {
    if (path === '/latest/api/token') {
      const ttl = headers['x-aws-ec2-metadata-token-ttl-seconds'];
      if (method !== 'PUT' || !(ttl >= 1 && ttl <= 21_600)) return [400, ''];
      return [200, token, { 'X-Aws-Ec2-Metadata-Token-Ttl-Seconds': ttl }];
    }
    if (headers['x-aws-ec2-metadata-token'] !== token) return [401, ''];
    const found = {
      '/latest/meta-data/local-ipv4': address,
      '/latest/meta-data/instance-id': instanceId,
      '/latest/meta-data/placement/region': region,
      '/latest/meta-data/placement/availability-zone': `${region}a`,
      '/latest/meta-data/iam/security-credentials/': roleName,
      [`/latest/meta-data/iam/security-credentials/${roleName}`]: document('ASIAINSTANCE'),
      '/latest/dynamic/instance-identity/document': JSON.stringify({ region, instanceId, privateIp: address }),
    }[path];
    return found === undefined ? undefined : [200, found];
  },

  ec2({ method, path, headers, body }) {
    if (method !== 'POST' || path !== '/') return undefined;
    const [, keyId] =
      new RegExp(`^AWS4-HMAC-SHA256 Credential=(\\w+)/\\d{8}/${region}/ec2/aws4_request, `).exec(
        headers.authorization ?? '',
      ) ?? [];
    const key = keys.get(keyId);
    const error = (code) => [
      403,
      `<Response><Errors><Error><Code>${code}</Code><Message>-</Message></Error></Errors></Response>`,
    ];
    if (key === undefined || headers['x-amz-security-token'] !== key.session) return error('AuthFailure');
    const form = new URLSearchParams(body);
    if (form.get('Action') !== 'DescribeInstances') return error('UnauthorizedOperation');
    const filters = [];
    for (let n = 1; form.has(`Filter.${n}.Name`); n++) {
      filters.push([form.get(`Filter.${n}.Name`), form.get(`Filter.${n}.Value.1`)]);
    }
    const found = instances.filter(({ state, tags }) =>
      filters.every(([name, value]) => (name.startsWith('tag:') ? tags[name.slice(4)] : state) === value),
    );
    // An empty first page, as the real one gives when filters apply after paging.
    const items = form.has('NextToken') ? found : [];
    return [
      200,
      `<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId><reservationSet>${items
        .map(
          ({ id, ip }) =>
            `<item><instancesSet><item><instanceId>${id}</instanceId><privateIpAddress>${ip}</privateIpAddress></item></instancesSet></item>`,
        )
        .join(
          '',
        )}</reservationSet>${form.has('NextToken') ? '' : '<nextToken>2</nextToken>'}</DescribeInstancesResponse>`,
      { 'Content-Type': 'text/xml;charset=UTF-8' },
    ];
  },

  task({ path }) {
    if (path === '/v2/credentials/7e6d') return [200, document('ASIATASK')];
    if (path === '/v4/c0ffee/task') {
      return [
        200,
        JSON.stringify({
          Cluster: cluster,
          TaskARN: taskArn,
          Family: 'portolan',
          LaunchType: 'EC2',
          AvailabilityZone: `${region}a`,
          Containers: [{ Name: 'portolan', Networks: [{ NetworkMode: 'bridge', IPv4Addresses: ['172.17.0.2'] }] }],
        }),
      ];
    }
    return undefined;
  },

  introspection({ path }) {
    if (path !== '/v1/metadata') return undefined;
    const arn = `arn:aws:ecs:${region}:123456789012:container-instance/${cluster}/1`;
    return [
      200,
      JSON.stringify({ Cluster: cluster, ContainerInstanceArn: arn, Version: 'Amazon ECS Agent - v1.80.0' }),
    ];
  },
};

/** Service, address, port, by where the program runs. */
const listeners = {
  region: [
    ['metadata', '169.254.169.254', 80],
    ['ec2', '10.0.1.2', 80],
  ],
  host: [
    ['task', '169.254.170.2', 80],
    ['introspection', '0.0.0.0', 51_678],
  ],
}[process.argv[2]];

let starting = listeners.length;
for (const [name, host, port] of listeners) {
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      const { method, headers, url: path } = request;
      const from = request.socket.remoteAddress;
      const [status, answer, more] = services[name]({ method, path, headers, body }) ?? [404, ''];
      console.log(JSON.stringify({ name, method, path, status, from }));
      response.writeHead(status, more).end(answer);
    });
  });
  server.listen(port, host, () => {
    starting--;
    if (starting === 0) console.log('ready');
  });
}
