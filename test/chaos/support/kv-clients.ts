/**
 * Clients that use a few keys at once through random servers, and note what they asked, when, and what they were told.
 * An answer other than the one that the API defines counts as no answer: the write may have happened or not.
 */
import type { Random } from '../../../src/ports/index.ts';
import type { Member } from '../../helpers/cluster.ts';
import { waitUntil } from '../../helpers/wait.ts';
import type { KvInput, KvOperation, KvOutput } from './kv-model.ts';

export interface KvClientOptions {
  readonly servers: readonly Member[];
  /** Prefix of the keys; another one for each history. */
  readonly prefix: string;
  readonly keys: number;
  /** One client for each: what it locks with. */
  readonly sessions: readonly string[];
  readonly random: Random;
  /** Operations of each client. */
  readonly operations: number;
  /** The clients stop after this time, done or not (ms). */
  readonly limitMs: number;
}

/** How long a client waits for an answer (ms): longer than most elections, so that few writes remain unknown. */
const answerLimitMs = 2_500;
/** Longest rest between two operations of a client (ms). */
const restMs = 60;
/** After an error: not to burn the history while there is no leader (ms). */
const afterErrorMs = 250;

interface WirePair {
  readonly Value: string | null;
  readonly Session?: string;
  readonly LockIndex: number;
  readonly ModifyIndex: number;
}

/** A session that no check and no node can end. A server's node must be in the catalog for it: soon after its start. */
export async function createSession(server: Member): Promise<string> {
  const wanted = { NodeChecks: [], Checks: [], LockDelay: '0s' };
  const { ID } = await waitUntil(`a session at ${server.name}`, () =>
    server.put<{ readonly ID: string }>('/v1/session/create', wanted).catch(() => undefined),
  );
  return ID;
}

/** Runs the clients to their end; never rejects. */
export async function playHistory(options: KvClientOptions): Promise<readonly KvOperation[]> {
  const history: KvOperation[] = [];
  await Promise.all(options.sessions.map((session, at) => playClient(options, `c${at}`, session, history)));
  return history;
}

async function playClient(
  options: KvClientOptions,
  client: string,
  session: string,
  history: KvOperation[],
): Promise<void> {
  const { servers, prefix, keys, random, operations, limitMs } = options;
  /** Index last read of each key. */
  const seen = new Map<string, number>();
  const untilMs = performance.now() + limitMs;
  for (let count = 0; count < operations && performance.now() < untilMs; count++) {
    const key = `${prefix}/${Math.floor(random.next() * keys)}`;
    const input = choose(random, `${client}.${count}`, session, seen.get(key));
    const startMs = performance.now();
    const output = await send(pick(servers, random), key, input);
    const endMs = output === undefined ? Number.POSITIVE_INFINITY : performance.now();
    if (output !== undefined && 'pair' in output) seen.set(key, output.pair?.index ?? 0);
    history.push({ key, client, input, output, startMs, endMs });
    await pause(output === undefined ? afterErrorMs : random.next() * restMs);
  }
}

function choose(random: Random, value: string, session: string, index: number | undefined): KvInput {
  const dice = random.next();
  if (dice < 0.4) return { kind: 'get' };
  if (dice < 0.55) return { kind: 'set', value };
  if (dice < 0.75) return index === undefined ? { kind: 'get' } : { kind: 'cas', index, value };
  if (dice < 0.8) return { kind: 'delete' };
  return { kind: dice < 0.9 ? 'acquire' : 'release', session, value };
}

async function send(server: Member, key: string, input: KvInput): Promise<KvOutput | undefined> {
  const path = `/v1/kv/${key}`;
  const timeout = { timeoutMs: answerLimitMs };
  try {
    if (input.kind === 'get') {
      const { status, text } = await server.request('GET', `${path}?consistent`, timeout);
      if (status === 404) return { pair: null };
      if (status !== 200) return undefined;
      const [pair] = JSON.parse(text) as [WirePair];
      const { Value, Session = '', LockIndex, ModifyIndex } = pair;
      const value = Buffer.from(Value ?? '', 'base64').toString();
      return { pair: { value, session: Session, lockIndex: LockIndex, index: ModifyIndex } };
    }
    const { status, text } =
      input.kind === 'delete'
        ? await server.request('DELETE', path, timeout)
        : await server.request('PUT', `${path}${query(input)}`, { ...timeout, body: input.value });
    if (status !== 200) return undefined;
    const answer: unknown = JSON.parse(text);
    return typeof answer === 'boolean' ? { done: answer } : undefined;
  } catch {
    return undefined;
  }
}

function query(input: Exclude<KvInput, { kind: 'get' | 'delete' }>): string {
  switch (input.kind) {
    case 'set':
      return '';
    case 'cas':
      return `?cas=${input.index}`;
    default:
      return `?${input.kind}=${input.session}`;
  }
}

function pick<T>(list: readonly T[], random: Random): T {
  return list[Math.floor(random.next() * list.length)]!;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
