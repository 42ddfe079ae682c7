// Runs the command line inside the test: captured streams, a given environment, and a fake agent on loopback.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CliDependencies, type CliIo, runCli } from '../../../src/cli/index.ts';

export interface Outcome {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

export const testDependencies: CliDependencies = {
  runAgent: async () => 0,
  version: { version: '0.1.0', revision: '', consul: '1.8.7' },
};

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly stdin?: string;
  readonly isTTY?: boolean;
  readonly dependencies?: CliDependencies;
  /** Called with a function that acts as a signal from outside. */
  readonly onReady?: (interrupt: () => void) => void;
  /** Sees stdout as it is written. */
  readonly onOutput?: (text: string) => void;
}

/** Runs `argv` and keeps what it printed. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { env = {}, stdin = '', isTTY = false, dependencies = testDependencies } = options;
  const written = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const io: CliIo = {
    stdin: (async function* () {
      yield Buffer.from(stdin);
    })(),
    stdout: {
      write(data) {
        written.stdout.push(Buffer.from(data as string));
        options.onOutput?.(String(data));
      },
    },
    stderr: { write: (data) => written.stderr.push(Buffer.from(data as string)) },
    env,
    isTTY,
    onSignal(callback) {
      options.onReady?.(() => callback('SIGINT'));
      return () => undefined;
    },
  };
  const exit = await runCli(argv, io, dependencies);
  return {
    exit,
    stdout: Buffer.concat(written.stdout).toString('utf8'),
    stderr: Buffer.concat(written.stderr).toString('utf8'),
  };
}

export interface Asked {
  readonly method: string;
  /** With query, as sent. */
  readonly url: string;
  readonly body: string;
  readonly headers: IncomingMessage['headers'];
}

/** What the fake agent answers: JSON, a text with a status, or anything by hand. */
export type Answer =
  | { readonly json: unknown }
  | { readonly status: number; readonly text: string }
  | ((request: Asked, response: ServerResponse) => void);

export interface FakeAgent {
  readonly asked: readonly Asked[];
  readonly address: string;
  /** Runs a command line against this agent. */
  run(argv: readonly string[], options?: RunOptions): Promise<Outcome>;
  close(): Promise<void>;
}

/** An agent that knows the given answers by `METHOD /path` (without query); anything else is 404. */
export async function fakeAgent(answers: Readonly<Record<string, Answer>>): Promise<FakeAgent> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      const entry = { method, url, body: Buffer.concat(chunks).toString('utf8'), headers };
      asked.push(entry);
      const answer = answers[`${method} ${url.split('?')[0]}`];
      if (answer === undefined) response.writeHead(404).end();
      else if (typeof answer === 'function') answer(entry, response);
      else if ('json' in answer) response.end(JSON.stringify(answer.json));
      else response.writeHead(answer.status).end(answer.text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    asked,
    address,
    run: (argv, options = {}) => run(argv, { ...options, env: { CONSUL_HTTP_ADDR: address, ...options.env } }),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
