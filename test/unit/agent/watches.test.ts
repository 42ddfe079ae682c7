// The watches of the configuration: handlers get the JSON of a changed answer, from an agent that answers by script.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { watchEndpoint, Watches } from '../../../src/agent/watches.ts';
import type { WatchDefinition, WatchHandler } from '../../../src/config/index.ts';
import { SystemClock } from '../../../src/node/system-clock.ts';
import type { ProcessResult, ProcessRunner } from '../../../src/ports/index.ts';
import { recordingLogger } from '../../helpers/logger.ts';
import { waitUntil } from '../../helpers/wait.ts';

const base = { datacenter: '', token: '', key: '', prefix: '', service: '', tags: [], passingOnly: false, state: '' };
const keyWatch = (handler: WatchHandler, given: Partial<WatchDefinition> = {}): WatchDefinition => ({
  ...base,
  type: 'key',
  key: 'k',
  name: '',
  stale: false,
  handler,
  ...given,
});

interface Run {
  readonly argv: readonly string[];
  readonly input: string;
  readonly index: string | undefined;
}

let server: Server;
let address: string;
let asked: { url: string; token: string | undefined }[];
/** Answers to be given, in order; after the last one questions wait. */
let answers: { status: number; index: number; body: unknown }[];
let runs: Run[];
let outcome: Partial<ProcessResult>;
let watches: Watches;
let lines: string[];

beforeEach(async () => {
  asked = [];
  runs = [];
  outcome = { exitCode: 0 };
  server = createServer((request, response) => {
    asked.push({ url: request.url!, token: request.headers['x-consul-token'] as string | undefined });
    const answer = answers.shift();
    if (answer === undefined) return;
    response.writeHead(answer.status, { 'X-Consul-Index': String(answer.index) });
    response.end(JSON.stringify(answer.body));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const processRunner: ProcessRunner = {
    run: async (argv, { input, env }) => {
      runs.push({ argv, input: Buffer.from(input ?? []).toString(), index: env?.['CONSUL_INDEX'] });
      const output = Buffer.from('said');
      return { exitCode: 0, signal: null, output, outputBytesTotal: 4, timedOut: false, ...outcome };
    },
  };
  const log = recordingLogger();
  ({ lines } = log);
  watches = new Watches({
    clock: new SystemClock(),
    logger: log.logger,
    processRunner,
    endpoint: () => ({ scheme: 'http', address, unix: false }),
    shell: '/bin/sh',
  });
});
afterEach(async () => {
  watches.stop();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const entry = { Key: 'k', Value: 'eA==', Flags: 0, LockIndex: 0, CreateIndex: 3, ModifyIndex: 3 };
const script: WatchHandler = { kind: 'script', args: ['handle', 'it'] };

test('a script gets null while the key is missing and the entry when it is there, not the same twice', async () => {
  answers = [
    { status: 404, index: 2, body: null },
    { status: 200, index: 3, body: [entry] },
    { status: 200, index: 4, body: [entry] },
  ];
  watches.replace([keyWatch(script, { token: 'secret', datacenter: 'dc2' })]);
  await waitUntil('questions', () => asked.length === 4);
  expect(asked.map(({ url }) => url)).toEqual([
    '/v1/kv/k?dc=dc2',
    '/v1/kv/k?dc=dc2&index=2',
    '/v1/kv/k?dc=dc2&index=3',
    '/v1/kv/k?dc=dc2&index=4',
  ]);
  expect(asked[0]!.token).toBe('secret');
  expect(runs).toEqual([
    { argv: ['handle', 'it'], input: 'null\n', index: '2' },
    {
      argv: ['handle', 'it'],
      input: '{"Key":"k","CreateIndex":3,"ModifyIndex":3,"LockIndex":0,"Flags":0,"Value":"eA==","Session":""}\n',
      index: '3',
    },
  ]);
  expect(lines).toContain('DEBUG watch handler output watch_handler=handle it output=said');
});

test('a failing handler is told of, and the watch goes on', async () => {
  outcome = { exitCode: 3 };
  answers = [
    { status: 404, index: 2, body: null },
    { status: 200, index: 3, body: [entry] },
  ];
  watches.replace([keyWatch({ kind: 'shell', command: 'exit 3' })]);
  await waitUntil('questions', () => asked.length === 3);
  expect(runs.map(({ argv }) => argv)).toEqual(Array.from({ length: 2 }, () => ['/bin/sh', '-c', 'exit 3']));
  expect(lines.filter((line) => line.startsWith('ERROR'))).toEqual(
    Array.from({ length: 2 }, () => 'ERROR Failed to run watch handler type=key error=Error: exit status 3'),
  );
});

test('an HTTP handler gets the JSON, the index and its headers', async () => {
  const got: unknown[] = [];
  const receiver = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method, url, headers } = request;
      got.push([method, url, headers['x-consul-index'], headers['x-a'], Buffer.concat(chunks).toString()]);
      response.writeHead(got.length === 1 ? 200 : 500).end();
    });
  });
  await new Promise<void>((resolve) => void receiver.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook?a=b`;
  answers = [
    { status: 404, index: 2, body: null },
    { status: 200, index: 3, body: [entry] },
  ];
  const header = { 'X-A': ['1', '2'] };
  watches.replace([keyWatch({ kind: 'http', url, method: 'POST', timeoutMs: 5000, header, tlsSkipVerify: false })]);
  await waitUntil('questions', () => asked.length === 3);
  expect(got).toEqual([
    ['POST', '/hook?a=b', '2', '1, 2', 'null'],
    ['POST', '/hook?a=b', '3', '1, 2', expect.stringContaining('"Key":"k"')],
  ]);
  expect(lines).toContain(`ERROR Failed to run watch handler type=key error=Error: POST ${url} answered 500`);
  receiver.closeAllConnections();
  receiver.close();
});

test('other watches take the place of those before', async () => {
  answers = [];
  watches.replace([keyWatch(script)]);
  await waitUntil('questions', () => asked.length === 1);
  watches.replace([keyWatch(script, { key: 'other' })]);
  await waitUntil('questions', () => asked.length === 2);
  answers = [{ status: 404, index: 2, body: null }];
  expect(asked.map(({ url }) => url)).toEqual(['/v1/kv/k', '/v1/kv/other']);
  expect(runs).toEqual([]);
});

test('a watch without its parameter is told of and left out', async () => {
  answers = [{ status: 404, index: 2, body: null }];
  watches.replace([keyWatch(script, { key: '' }), keyWatch(script)]);
  await waitUntil('a run', () => runs.length === 1);
  expect(lines[0]).toBe('ERROR Failed to parse watch type=key error=Error: Must specify a single key to watch');
});

test.each([
  [[], undefined],
  [[{ kind: 'tcp', host: '0.0.0.0', port: 8500 }], { scheme: 'http', address: '127.0.0.1:8500', unix: false }],
  [[{ kind: 'tcp', host: '::', port: 8500 }], { scheme: 'http', address: '[::1]:8500', unix: false }],
  [
    [
      { kind: 'tcp', host: '10.0.0.1', port: 8501, tls: true },
      { kind: 'unix', path: '/s', mode: 0 },
    ],
    { scheme: 'http', address: '/s', unix: true },
  ],
  [[{ kind: 'tcp', host: '10.0.0.1', port: 8501, tls: true }], { scheme: 'https', address: '10.0.0.1:8501' }],
] as const)('of the listeners %j: %j', (listeners, expected) => {
  const endpoint = watchEndpoint(listeners);
  if (expected === undefined) expect(endpoint).toBeUndefined();
  else expect(endpoint).toMatchObject(expected);
});
