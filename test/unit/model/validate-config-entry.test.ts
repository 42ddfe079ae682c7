import { expect, test } from 'vitest';
import { type ConfigEntryBody, configEntryProblem, normalConfigEntry } from '../../../src/model/index.ts';

const problemOf = (entry: ConfigEntryBody): string | null => configEntryProblem(normalConfigEntry(entry));
const router = (route: object): ConfigEntryBody => ({ Kind: 'service-router', Name: 'x', Routes: [route] });
const http = (match: object, destination?: object): ConfigEntryBody =>
  router({ Match: { HTTP: match }, ...(destination === undefined ? {} : { Destination: destination }) });
const resolver = (more: object): ConfigEntryBody => ({ Kind: 'service-resolver', Name: 'x', ...more });
const listener = (more: object): ConfigEntryBody => ({
  Kind: 'ingress-gateway',
  Name: 'x',
  Listeners: [{ Port: 80, ...more }],
});
const exposed = (...Hosts: string[]): ConfigEntryBody =>
  listener({ Protocol: 'http', Services: [{ Name: 'a', Hosts }] });
const terminating = (...Services: object[]): ConfigEntryBody => ({ Kind: 'terminating-gateway', Name: 'x', Services });
const splits = (...Splits: object[]): ConfigEntryBody => ({ Kind: 'service-splitter', Name: 'x', Splits });

test.each<[ConfigEntryBody, string]>([
  [{ Kind: 'service-defaults', Name: '' }, 'serviceName is required'],
  [{ Kind: 'service-router', Name: '' }, 'Name is required'],
  [{ Kind: 'terminating-gateway', Name: '' }, 'serviceName is required'],
  [{ Kind: 'terminating-gateway', Name: '', Services: [{}] }, 'Service name cannot be blank.'],
  [{ Kind: 'ingress-gateway', Name: '' }, 'failed inserting config entry: object missing primary index'],
  [http({ PathExact: 'a' }), `Route[0] PathExact doesn't start with '/': "a"`],
  [http({ PathPrefix: 'a' }), `Route[0] PathPrefix doesn't start with '/': "a"`],
  [
    http({ PathExact: '/a', PathRegex: 'b' }),
    'Route[0] should only contain at most one of PathExact, PathPrefix, or PathRegex',
  ],
  [http({ Header: [{ Exact: 'b' }] }), 'Route[0] Header[0] missing required Name field'],
  [
    http({ Header: [{ Name: 'a', Exact: 'b', Present: true }] }),
    'Route[0] Header[0] should only contain one of Present, Exact, Prefix, Suffix, or Regex',
  ],
  [http({ QueryParam: [{ Name: 'a' }] }), 'Route[0] QueryParam[0] should only contain one of Present, Exact, or Regex'],
  [http({ Methods: ['get', 'GET'] }), 'Route[0] Methods contains "GET" more than once'],
  [
    http({ PathRegex: 'a' }, { PrefixRewrite: '/' }),
    'Route[0] cannot make use of PrefixRewrite without configuring either PathExact or PathPrefix',
  ],
  [splits(), 'no splits configured'],
  [
    splits({ Weight: 33.333 }, { Weight: 66.666, Service: 'y' }),
    'the sum of all split weights must be 100, not 99.990000',
  ],
  [
    splits({ Weight: 50 }, { Weight: 50 }),
    'split destination occurs more than once: service="x", subset="", namespace=""',
  ],
  [
    splits({ Weight: 50, Service: 'x' }, { Weight: 50 }),
    'split destination occurs more than once: service="x", subset="", namespace=""',
  ],
  [resolver({ DefaultSubset: 'v1' }), 'DefaultSubset "v1" is not a valid subset'],
  [resolver({ Subsets: { '': {} } }), 'Subset defined with empty name'],
  ...['V1', 'a-', '-a', 'a_b', 'é'].map((name): [ConfigEntryBody, string] => [
    resolver({ Subsets: { [name]: {} } }),
    `Subset "${name}" is invalid: must be 63 characters or fewer, begin or end with lower case alphanumeric ` +
      "characters, and contain lower case alphanumeric characters or '-' in between",
  ]),
  [
    resolver({ Subsets: { ['x'.repeat(64)]: {} } }),
    `Subset "${'x'.repeat(64)}" is invalid: must be non-empty and 63 characters or fewer`,
  ],
  [resolver({ Redirect: {} }), 'Redirect is empty'],
  [
    resolver({ Redirect: { Service: 'y' }, Failover: { '*': { Service: 'z' } } }),
    'Redirect and Failover cannot both be set',
  ],
  [resolver({ Redirect: { ServiceSubset: 'v1' } }), 'Redirect.ServiceSubset defined without Redirect.Service'],
  [resolver({ Failover: { v1: { Service: 'y' } } }), 'Bad Failover["v1"]: not a valid subset'],
  [
    resolver({ Failover: { '*': {} } }),
    'Bad Failover["*"] one of Service, ServiceSubset, Namespace, or Datacenters is required',
  ],
  [resolver({ Failover: { '*': { Datacenters: [''] } } }), 'Bad Failover["*"].Datacenters: found empty datacenter'],
  [resolver({ ConnectTimeout: -3600e9 }), "Bad ConnectTimeout '-1h0m0s', must be >= 0"],
  [resolver({ ConnectTimeout: -1 }), "Bad ConnectTimeout '-1ns', must be >= 0"],
  [
    listener({ Protocol: 'udp' }),
    "protocol must be 'tcp', 'http', 'http2', or 'grpc'. 'udp' is an unsupported protocol",
  ],
  [listener({}), 'No service declared for listener with port 80'],
  [
    listener({ Services: [{ Name: 'a' }, { Name: 'b' }] }),
    "Multiple services per listener are only supported for protocol = 'http' (listener on port 80)",
  ],
  [
    listener({ Services: [{ Name: '*' }] }),
    "Wildcard service name is only valid for protocol = 'http' (listener on port 80)",
  ],
  [
    listener({ Services: [{ Name: 'a', Hosts: ['h'] }] }),
    'Associating hosts to a service is not supported for the tcp protocol (listener on port 80)',
  ],
  [listener({ Services: [{}] }), 'Service name cannot be blank (listener on port 80)'],
  [
    listener({
      Protocol: 'http',
      Services: [
        { Name: 'a', Hosts: ['h'] },
        { Name: 'b', Hosts: ['h'] },
      ],
    }),
    'Hosts must be unique within a specific listener (listener on port 80)',
  ],
  ...['a..b', '', 'x'.repeat(64), 'x.'.repeat(130)].map((host): [ConfigEntryBody, string] => [
    exposed(host),
    `Host "${host}" must be a valid DNS hostname`,
  ]),
  ...['*.*', 'a.*', '*a'].map((host): [ConfigEntryBody, string] => [
    exposed(host),
    `Host "${host}" is not valid, a wildcard specifier is only allowed as the leftmost label`,
  ]),
  [
    { ...exposed('*'), TLS: { Enabled: true } } as ConfigEntryBody,
    "Host '*' is not allowed when TLS is enabled, all hosts must be valid DNS records to add as a DNSSAN",
  ],
  [terminating({}), 'Service name cannot be blank.'],
  [terminating({ Name: 'a' }, { Name: 'a' }), 'Service "a" was specified more than once within a namespace'],
  [
    terminating({ Name: 'a', CertFile: '/c' }),
    'Service "a" must have a CertFile, CAFile, and KeyFile specified for TLS origination',
  ],
])('%j is refused', (entry, problem) => {
  expect(problemOf(entry)).toBe(problem);
});

test.each<ConfigEntryBody>([
  ...['a', 'a b', '*', '*.a', '.', 'a.', '*.', 'é', 'a/b', 'a:80'].map((host) => exposed(host)),
  listener({ Protocol: 'http', Services: [{ Name: 'a' }, { Name: 'a' }] }),
  resolver({ Subsets: { ['x'.repeat(63)]: {}, 1: {} } }),
])('%j is taken', (entry) => {
  expect(problemOf(entry)).toBeNull();
});

test.each<[ConfigEntryBody, object]>([
  [{ Kind: 'proxy-defaults', Name: 'other' }, { Name: 'global' }],
  [{ Kind: 'service-defaults', Name: 'x', Protocol: 'HTTP' }, { Protocol: 'http' }],
  [http({ Methods: ['get'] }, { Service: 'y' }), { Routes: [{ Destination: { Service: 'y', Namespace: 'default' } }] }],
  [splits({ Weight: 33.336 }, { Weight: 66.667, Service: 'y' }), { Splits: [{ Weight: 33.33 }, { Weight: 66.66 }] }],
  [listener({ Services: [{ Name: 'a' }] }), { Listeners: [{ Port: 80, Protocol: 'tcp' }] }],
])('%j is put into its normal form', (entry, normal) => {
  expect(normalConfigEntry(entry)).toMatchObject(normal);
});
