import { AgentClient, type ClientFlags, createHttpBackend, resolveClientOptions } from '../../client/index.ts';
import { createLogger } from '../../node/logger.ts';
import { type Logger, logLevels, sleep } from '../../ports/index.ts';
import { createRegistrator } from '../../registrator/index.ts';
import { CliError, type CliIo, command, settle } from '../command.ts';
import { oneOf } from '../flags.ts';
import { mappingFlags, noMetrics, registratorWorld } from '../registrator-flags.ts';
import { SystemClock } from '../../node/system-clock.ts';
import { writeVersion } from './version.ts';

/** Exit code of a wrong command line, as the reference program has it. */
const usageExitCode = 2;
/** Wait between two tries to reach the agent at the start, ms. */
const retryIntervalMsDefault = 2000;
/** Period of a timer that does nothing but keep the process, ms. */
const aliveMs = 60_000;

export const registrator = command({
  name: 'registrator',
  operands: 'consul://HOST:PORT',
  summary: 'Register containers with another agent',
  description: [
    'Watches Docker and registers the ports of containers with an agent over HTTP: consul://HOST:PORT, consul-tls://HOST:PORT or consul-unix:///PATH. "consul://" alone takes the address from CONSUL_HTTP_ADDR. Use the agent on the same host: services belong to the node of the agent they are registered with.',
    'An agent of Portolan itself does this without a second process: portolan agent -registrator.',
  ],
  usageExitCode,
  flags: {
    ...mappingFlags,
    ttl: { kind: 'int', value: 'SECONDS', help: 'Accepted for compatibility; agents need no TTL.' },
    'ttl-refresh': { kind: 'int', value: 'SECONDS', help: 'Accepted for compatibility, together with -ttl.' },
    'retry-attempts': {
      kind: 'int',
      value: 'N',
      help: 'Further tries to reach the agent at the start; -1 = for ever.',
    },
    'retry-interval': { kind: 'int', value: 'MS', help: 'Time between these tries. Default 2000.' },
    'on-exit': { kind: 'string', value: 'MODE', help: 'leave the services registered (default), or deregister them.' },
    'log-level': { kind: 'string', value: 'LEVEL', help: `${logLevels.join(', ')}. Default info.` },
    'log-json': { kind: 'bool', help: 'Log as JSON.' },
    version: { kind: 'bool', help: 'Print the version.' },
  },
  async run({ io, values, args, help, dependencies }) {
    if (values.version) {
      writeVersion(io, dependencies.version);
      return 0;
    }
    const [uri] = args;
    if (uri === undefined || args.length > 1) {
      const problem =
        uri === undefined ? 'Missing required argument for the agent, such as' : 'Extra arguments; give one';
      throw new CliError(`${problem} consul://127.0.0.1:8500\n\n${help}`, { exitCode: usageExitCode });
    }
    checkTtl(values.ttl ?? 0, values['ttl-refresh'] ?? 0);
    const intervalMs = values['retry-interval'] ?? retryIntervalMsDefault;
    if (intervalMs <= 0) throw new CliError('-retry-interval must be greater than 0');
    const onExit = oneOf('on-exit', values['on-exit'], ['leave', 'deregister']) ?? 'leave';
    const clock = new SystemClock();
    const log = createLogger({
      level: oneOf('log-level', values['log-level']?.toLowerCase(), logLevels) ?? 'info',
      json: values['log-json'] ?? false,
      stdout: { write: (text) => io.stdout.write(text), isTTY: io.isTTY },
      clock,
    });
    const logger = log.logger.named('registrator');
    const client = backendClient(io, uri, clock);
    const ending = new AbortController();
    const removeHandler = io.onSignal((signal) => ending.abort(new Error(signal)));
    // Waiting for a retry or for containers must not end the process: the clock's timers do not keep it.
    const alive = setInterval(() => undefined, aliveMs);
    try {
      const world = await registratorWorld(values, io.env, logger);
      await reachAgent(client, values['retry-attempts'] ?? 0, intervalMs, clock, logger, ending.signal);
      const service = createRegistrator({ ...world, backend: createHttpBackend(client), logger, metrics: noMetrics });
      service.start();
      await new Promise<void>((resolve) => {
        if (ending.signal.aborted) resolve();
        else ending.signal.addEventListener('abort', () => resolve(), { once: true });
      });
      logger.info('Stopping', { signal: (ending.signal.reason as Error).message });
      await service.stop(onExit === 'leave' ? 'leave-services' : 'deregister-all');
      return 0;
    } catch (error) {
      if (ending.signal.aborted) return 0;
      throw error;
    } finally {
      clearInterval(alive);
      removeHandler();
      client.close();
      log.close();
    }
  },
});

function checkTtl(ttl: number, refresh: number): void {
  if ((ttl === 0) !== (refresh === 0)) {
    throw new CliError('-ttl and -ttl-refresh must be specified together or not at all');
  }
  if (ttl > 0 && ttl <= refresh) throw new CliError('-ttl must be greater than -ttl-refresh');
}

/** @throws CliError for schemes of stores that are no agents. */
function backendClient({ env }: CliIo, uri: string, clock: SystemClock): AgentClient {
  const [, scheme, rest = ''] = /^([a-z\d-]+):\/\/(.*)$/i.exec(uri) ?? [];
  const addresses: Readonly<Record<string, ClientFlags>> = {
    consul: { httpAddr: rest.replace(/\/.*$/, '') },
    'consul-tls': { httpAddr: rest === '' ? undefined : `https://${rest}` },
    'consul-unix': { httpAddr: `unix://${rest}` },
  };
  const flags = scheme === undefined || !Object.hasOwn(addresses, scheme) ? undefined : addresses[scheme];
  if (flags === undefined) {
    throw new CliError(
      `unrecognized backend: ${uri}; use consul://HOST:PORT, consul-tls://HOST:PORT or consul-unix:///PATH`,
    );
  }
  return new AgentClient(
    settle(() => resolveClientOptions(env, flags)),
    clock,
  );
}

/** The reference program's ping: the agent answers and knows a server. */
async function reachAgent(
  client: AgentClient,
  attempts: number,
  intervalMs: number,
  clock: SystemClock,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await client.ok('GET', '/v1/status/leader', { signal });
      return;
    } catch (error) {
      signal.throwIfAborted();
      const reason = (error as Error).message;
      if (attempts >= 0 && attempt >= attempts) {
        throw new CliError(`cannot reach the agent at ${client.endpoint}: ${reason}; -retry-attempts=-1 waits for it`);
      }
      logger.warn('Agent not reachable, trying again', { agent: client.endpoint, error: reason });
      await sleep(clock, intervalMs, signal);
    }
  }
}
