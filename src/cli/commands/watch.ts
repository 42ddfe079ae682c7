import type { AgentClient, ClientQuery } from '../../client/index.ts';
import { encodeGoJson, parseGoJson } from '../../codec/index.ts';
import { sleep } from '../../ports/index.ts';
import { SystemClock } from '../../node/system-clock.ts';
import { startChild } from '../child.ts';
import { attempt, CliError, command } from '../command.ts';
import { serverFlags } from '../flags.ts';
import type { KvEntry } from '../kv.ts';

/** Pause after the first failed question and the longest one, ms; it grows with the square of failures. */
const retryMs = 5000;
const retryMsMax = 180_000;

/** What is asked for, and what of the answer is shown. */
interface Question {
  readonly path: string;
  readonly query: ClientQuery;
  readonly pick?: (answer: unknown) => unknown;
}

export const watch = command({
  name: 'watch',
  operands: '[child...]',
  summary: 'Wait for changes and run a command on each',
  description: [
    'Asks for data of one type. Without child prints it once, as JSON. With child runs it now and after every change, with the data as one line of JSON on its standard input and the index in CONSUL_INDEX, until interrupted or until the child fails.',
  ],
  flags: {
    ...serverFlags,
    type: {
      kind: 'string',
      value: 'TYPE',
      help: 'key, keyprefix, services, nodes, service, checks or event. Required.',
    },
    key: { kind: 'string', value: 'KEY', help: 'For key: the key.' },
    prefix: { kind: 'string', value: 'PREFIX', help: 'For keyprefix: where the keys begin.' },
    service: { kind: 'string', value: 'NAME', help: 'For service (required) and checks: the service.' },
    tag: { kind: 'list', value: 'TAG', help: 'For service: only instances with this tag. May be given several times.' },
    passingonly: { kind: 'string', value: 'true|false', help: 'For service: only healthy instances.' },
    state: { kind: 'string', value: 'STATE', help: 'For checks: only those in this state.' },
    name: { kind: 'string', value: 'NAME', help: 'For event: only events of this name.' },
    shell: { kind: 'bool', help: 'Let a shell read the words of the child. Default true.' },
  },
  async run({ io, values, args, warn, client }) {
    const { type = '' } = values;
    if (type === '') throw new CliError('Watch type must be specified', { usage: true });
    const question = questionOf(type, values);
    const agent = client();
    await attempt('Error querying Consul agent', agent.ok('GET', '/v1/agent/self'));
    const stale = values.stale ?? false;
    if (args.length === 0) {
      const { data } = await attempt('Error running watch', ask(agent, question, { stale }));
      io.stdout.write(`${encodeGoJson(data, { pretty: true }).trimEnd()}\n`);
      return 0;
    }

    const clock = new SystemClock();
    const stop = new AbortController();
    const { signal } = stop;
    const removeHandler = io.onSignal(() => stop.abort());
    let index = '';
    let shown: string | undefined;
    let failures = 0;
    try {
      while (!signal.aborted) {
        let answer: Answer;
        try {
          answer = await ask(agent, question, { stale, ...(index !== '' && { index }) }, signal);
          failures = 0;
        } catch (error) {
          if (signal.aborted) break;
          failures++;
          const pauseMs = Math.min(retryMs * failures ** 2, retryMsMax);
          warn(`Watch (type: ${type}) errored: ${(error as Error).message}, retry in ${pauseMs / 1000}s`);
          await sleep(clock, pauseMs, signal).catch(() => undefined);
          // What was missed meanwhile is told at once.
          index = '';
          continue;
        }
        // Indexes begin anew when the servers' state did.
        index = BigInt(answer.index || 0) < BigInt(index || 0) ? '' : answer.index;
        const line = encodeGoJson(answer.data).trimEnd();
        if (line === shown) continue;
        shown = line;
        const child = startChild(io, args, {
          shell: values.shell ?? true,
          input: `${line}\n`,
          env: { CONSUL_INDEX: answer.index },
        });
        const interrupt = (): void => child.kill('SIGTERM');
        signal.addEventListener('abort', interrupt, { once: true });
        const failure = await attempt('Error executing handler', child.ended);
        signal.removeEventListener('abort', interrupt);
        if (failure !== undefined && !signal.aborted) throw new CliError(`Error executing handler: ${failure}`);
      }
      return 0;
    } finally {
      removeHandler();
    }
  },
});

function questionOf(
  type: string,
  values: {
    readonly key?: string;
    readonly prefix?: string;
    readonly service?: string;
    readonly tag?: readonly string[];
    readonly passingonly?: string;
    readonly state?: string;
    readonly name?: string;
  },
): Question {
  const { key = '', prefix = '', service = '', state = '', name = '', tag } = values;
  switch (type) {
    case 'key':
      if (key === '') throw new CliError('Must specify a single key to watch');
      return {
        path: `/v1/kv/${key}`,
        query: {},
        pick: (entries) => pairs(entries)[0] ?? null,
      };
    case 'keyprefix':
      if (prefix === '') throw new CliError('Must specify a single prefix to watch');
      return { path: `/v1/kv/${prefix}`, query: { recurse: true }, pick: pairs };
    case 'services':
      return { path: '/v1/catalog/services', query: {} };
    case 'nodes':
      return { path: '/v1/catalog/nodes', query: {} };
    case 'service':
      if (service === '') throw new CliError('Must specify a single service to watch');
      return {
        path: `/v1/health/service/${service}`,
        query: { ...(tag && { tag }), ...(isTrue(values.passingonly) && { passing: '1' }) },
      };
    case 'checks':
      if (service !== '' && state !== '') throw new CliError('Cannot specify service and state');
      return {
        path: service === '' ? `/v1/health/state/${state || 'any'}` : `/v1/health/checks/${service}`,
        query: {},
      };
    case 'event':
      return { path: '/v1/event/list', query: { ...(name !== '' && { name }) } };
    default:
      throw new CliError(`Unsupported watch type: ${type}`);
  }
}

/** Entries with their fields in the order, and with the empty session, that handlers know. */
function pairs(entries: unknown): readonly KvEntry[] {
  return ((entries ?? []) as readonly KvEntry[]).map(
    ({ Key, CreateIndex, ModifyIndex, LockIndex, Flags, Value, Session = '' }) => ({
      Key,
      CreateIndex,
      ModifyIndex,
      LockIndex,
      Flags,
      Value,
      Session,
    }),
  );
}

function isTrue(text = 'false'): boolean {
  if (/^(1|t|true)$/i.test(text)) return true;
  if (/^(0|f|false)$/i.test(text)) return false;
  throw new CliError(`Failed to parse 'passingonly' flag: "${text}" must be true or false`);
}

interface Answer {
  readonly data: unknown;
  readonly index: string;
}

async function ask(
  agent: AgentClient,
  { path, query, pick = (answer) => answer }: Question,
  how: ClientQuery,
  signal?: AbortSignal,
): Promise<Answer> {
  const { status, headers, body } = await agent.request('GET', path, { query: { ...query, ...how }, signal });
  const index = String(headers['x-consul-index'] ?? '');
  // A key that does not exist is an answer.
  if (status === 404 && path.startsWith('/v1/kv/')) return { data: null, index };
  if (status !== 200) throw new Error(`Unexpected response code: ${status} (${body.toString('utf8')})`);
  return { data: pick(parseGoJson(body)), index };
}
