// The engine client against a server of this process on a unix socket: what a real engine does seldom or never.
import { createServer, type IncomingMessage, type ServerResponse, type Server } from 'node:http';
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connectionAdvice, DockerodeEngine, engineRequestTimeoutMs } from '../../../src/node/dockerode-engine.ts';
import { engineEndpoint } from '../../../src/node/engine-endpoint.ts';
import { EngineError, type EngineEvent } from '../../../src/ports/index.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { recordingLogger, recordingMetrics } from '../checks/support.ts';

let dir: string;
let server: Server;
let clock: VirtualClock;
let requests: string[];
let answer: (request: IncomingMessage, response: ServerResponse) => void;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'portolan-engine-unit-'));
  clock = new VirtualClock({ drain: () => new Promise((resolve) => void setImmediate(resolve)) });
  requests = [];
  answer = (_request, response) => response.writeHead(404).end('{"message":"page not found"}');
  server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    if (request.url === '/version') response.end('{"ApiVersion":"1.41"}');
    else answer(request, response);
  });
  await new Promise<void>((resolve) => void server.listen(join(dir, 'docker.sock'), resolve));
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(dir, { recursive: true, force: true });
});

function engine(path = join(dir, 'docker.sock')): DockerodeEngine {
  return new DockerodeEngine({
    endpoint: engineEndpoint({ DOCKER_HOST: `unix://${path}` }),
    clock,
    random: new SeededRandom(1),
    logger: recordingLogger().logger,
    metrics: recordingMetrics().metrics,
  });
}

const json = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
};

describe('requests', () => {
  test('agree on the API version once, and use the engine’s when it is older', async () => {
    answer = (_request, response) => json(response, 200, []);
    const docker = engine();
    await Promise.all([docker.listContainers({ all: true }), docker.listContainers({ all: false })]);
    expect(requests.sort()).toEqual([
      'GET /v1.41/containers/json?all=false',
      'GET /v1.41/containers/json?all=true',
      'GET /version',
    ]);
  });

  test('escape the id', async () => {
    answer = (_request, response) => json(response, 200, { Id: 'x' });
    await engine().inspectContainer('a/b c');
    expect(requests).toContain('GET /v1.41/containers/a%2Fb%20c/json');
  });

  test('an answer that is not success is an EngineError with its status and message', async () => {
    answer = (_request, response) => json(response, 404, { message: 'No such container: x' });
    await expect(engine().inspectContainer('x')).rejects.toEqual(new EngineError('No such container: x', 404));
    answer = (_request, response) => response.writeHead(500).end('plain text');
    await expect(engine().info()).rejects.toMatchObject({
      statusCode: 500,
      message: expect.stringContaining('plain text'),
    });
  });

  test('an engine that does not answer is given up after its time', async () => {
    answer = () => undefined;
    const docker = engine();
    let error: unknown;
    void docker.info().catch((reason: unknown) => {
      error = reason;
    });
    while (!requests.includes('GET /v1.41/info')) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(engineRequestTimeoutMs);
    expect(error).toMatchObject({
      statusCode: undefined,
      message: expect.stringContaining('did not answer GET /info within 30 s'),
    });
  });

  test('a connection that breaks within an answer is an error, at the latest after its time', async () => {
    answer = (_request, response) => {
      response.writeHead(200, { 'Content-Length': '100' }).write('{"half');
      setImmediate(() => response.destroy());
    };
    let error: unknown;
    void engine()
      .info()
      .catch((reason: unknown) => {
        error = reason;
      });
    while (!requests.includes('GET /v1.41/info')) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(engineRequestTimeoutMs);
    expect(error).toBeInstanceOf(EngineError);
  });

  test('an abort rejects with its reason', async () => {
    answer = () => undefined;
    const abort = new AbortController();
    const running = engine().info(abort.signal);
    abort.abort(new Error('no longer wanted'));
    await expect(running).rejects.toThrow('no longer wanted');
  });
});

describe('events', () => {
  const subscribe = (docker: DockerodeEngine, signal: AbortSignal, since?: string) => {
    const events: EngineEvent[] = [];
    let open = false;
    const ended = docker.events(
      { types: ['container'], events: ['start', 'die'], ...(since === undefined ? {} : { since }) },
      {
        onOpen: () => {
          open = true;
        },
        onEvent: (event) => events.push(event),
      },
      signal,
    );
    return { events, ended, isOpen: () => open };
  };
  const event =
    '{"Type":"container","Action":"start","Actor":{"ID":"abc","Attributes":{}},"time":1,"timeNano":1000000000000000001}';

  test('are asked for with filters and since, and given in order; a good end resolves', async () => {
    answer = (_request, response) => {
      response.writeHead(200).write(event.slice(0, 20));
      setImmediate(() => response.end(`${event.slice(20)}\n${event}\n`));
    };
    const { events, ended, isOpen } = subscribe(engine(), new AbortController().signal, '12.000000034');
    await ended;
    expect(isOpen()).toBe(true);
    expect(events.map(({ timeNano }) => timeNano)).toEqual(['1000000000000000001', '1000000000000000001']);
    const query = new URL(requests[1]!.slice(4), 'http://x').searchParams;
    expect(Object.fromEntries(query)).toEqual({
      since: '12.000000034',
      filters: '{"type":["container"],"event":["start","die"]}',
    });
  });

  test('a break rejects, an abort rejects with its reason', async () => {
    let open: ServerResponse | undefined;
    answer = (_request, response) => {
      response.writeHead(200).write(`${event}\n`);
      open = response;
    };
    const broken = subscribe(engine(), new AbortController().signal);
    broken.ended.catch(() => undefined);
    while (broken.events.length === 0) await new Promise((resolve) => setImmediate(resolve));
    open?.destroy();
    await expect(broken.ended).rejects.toBeInstanceOf(EngineError);
    const abort = new AbortController();
    const aborted = subscribe(engine(), abort.signal);
    aborted.ended.catch(() => undefined);
    while (aborted.events.length === 0) await new Promise((resolve) => setImmediate(resolve));
    abort.abort(new Error('agent stops'));
    await expect(aborted.ended).rejects.toThrow('agent stops');
  });
});

describe('no engine', () => {
  test('no socket: says what to do', async () => {
    await expect(engine(join(dir, 'nothing.sock')).info()).rejects.toMatchObject({
      statusCode: undefined,
      message: expect.stringMatching(/there is no such socket\. Start Docker, or mount .* or set DOCKER_HOST/),
    });
  });

  test('a socket nobody listens on: says that it may be stale', async () => {
    const path = join(dir, 'docker.sock');
    const docker = engine();
    // A listener that was killed leaves its socket file; closing one in order removes it, so the file is moved first.
    renameSync(path, join(dir, 'stale.sock'));
    server.close();
    await expect(engine(join(dir, 'stale.sock')).info()).rejects.toMatchObject({
      message: expect.stringContaining('refuses connections'),
    });
    await expect(docker.info()).rejects.toBeInstanceOf(EngineError);
  });

  test('no permission: names the group to run with', () => {
    const endpoint = engineEndpoint({ DOCKER_HOST: `unix://${dir}/docker.sock` });
    const advice = connectionAdvice(endpoint, 'EACCES', 'connect EACCES');
    expect(advice).toMatch(/^permission denied at unix:.*--group-add \d+ /);
  });

  test.each([
    ['ECONNREFUSED', 'connect ECONNREFUSED', 'See whether DOCKER_HOST is right'],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'self-signed certificate', 'See DOCKER_TLS_VERIFY'],
    ['EPIPE', 'write EPIPE', 'failed: write EPIPE'],
  ])('over TCP, %s', (code, message, advice) => {
    expect(connectionAdvice(engineEndpoint({ DOCKER_HOST: 'tcp://h' }), code, message)).toContain(advice);
  });
});
