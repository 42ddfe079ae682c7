/**
 * Locks as every client of the reference's library takes them, so that theirs and ours exclude each other: a session
 * with a TTL, and a key acquired with it (one holder), or a list of holders in a key written by compare-and-set (several
 * holders). The flags of a key say which of the two it is; a key of the other kind is never touched.
 */
import { parseGoJson } from '../codec/index.ts';
import { type Clock, sleep } from '../ports/index.ts';
import { type AgentClient, type ClientQuery, UnexpectedResponseError } from './agent-client.ts';

/** Flags of a key that is a lock, and of one that is a semaphore; fixed by the reference's library. */
const lockFlags = 0x2d_dc_cb_c0_58_a5_0c_18n;
const semaphoreFlags = 0xe0_f6_9a_2b_aa_41_4d_e0n;
/** Life of the session without renewal, ms; the servers' shortest is 10 s. */
const sessionTtlMs = 15_000;
/** Longest time one question for a change waits, ms. */
const waitMs = 15_000;
/** Pause before the next attempt when nobody holds the lock and it still cannot be had (lock delay), ms. */
const retryMs = 5000;
/** Pause between attempts to see whether the lock is still ours, ms. */
const monitorRetryMs = 1000;
/** A holder list is small; more attempts to leave it than this mean that something else is wrong. */
const releaseAttemptsMax = 100;

export interface LockOptions {
  /** Below which the lock's keys are, without slash at the end. */
  readonly prefix: string;
  /** Holders at a time. */
  readonly limit: number;
  readonly sessionName: string;
  /** Attempts to ask again when the servers cannot say whether the lock is still held. */
  readonly monitorRetries: number;
}

/** A lock that is held. */
export interface HeldLock {
  /** Settles when the lock is lost; never rejects. */
  readonly lost: Promise<void>;
  /** Gives the lock back. @throws Error `Lock not held` when it was lost. */
  release(): Promise<void>;
  /** Deletes the key that nobody needs any more. @returns false when others hold or want it. */
  cleanup(): Promise<boolean>;
}

interface Entry {
  readonly Key: string;
  readonly Flags: number | bigint;
  readonly Value: string | null;
  readonly Session?: string;
  readonly ModifyIndex: number | bigint;
}

/** Entries and the index to wait on. */
interface Read {
  readonly entries: readonly Entry[];
  readonly index: string;
}

/** Key that is the lock itself. */
export function lockKey(prefix: string): string {
  return `${prefix.replace(/\/+$/, '')}/.lock`.replace(/^\/+/, '');
}

/**
 * Waits until the lock is ours.
 * @param signal ends the wait.
 * @returns undefined when the wait was ended.
 * @throws Error when a key is used for something else, and what the client throws.
 */
export async function acquireLock(
  client: AgentClient,
  clock: Clock,
  options: LockOptions,
  signal: AbortSignal,
): Promise<HeldLock | undefined> {
  const single = options.limit === 1;
  const session = await Session.create(client, clock, options.sessionName, single ? 'release' : 'delete');
  const protocol = single ? lockProtocol(client, options, session.id) : semaphoreProtocol(client, options, session.id);
  try {
    await protocol.enter();
    let index = '0';
    while (!signal.aborted) {
      const state = await protocol.attempt(index, signal);
      if (state.held) return hold(clock, options, session, protocol);
      index = state.index;
      if (state.pause) await sleep(clock, retryMs, signal);
    }
  } catch (error) {
    if (!signal.aborted) {
      await session.destroy();
      throw error;
    }
  }
  await session.destroy();
  return undefined;
}

function hold(clock: Clock, options: LockOptions, session: Session, protocol: Protocol): HeldLock {
  const stop = new AbortController();
  const lost = (async (): Promise<void> => {
    let index = '0';
    let failures = 0;
    while (!stop.signal.aborted) {
      try {
        const state = await protocol.look(index, stop.signal);
        if (!state.held) return;
        index = state.index;
        failures = 0;
      } catch {
        if (stop.signal.aborted || ++failures > options.monitorRetries) return;
        await sleep(clock, monitorRetryMs, stop.signal).catch(() => undefined);
      }
    }
  })();
  return {
    lost,
    async release() {
      stop.abort();
      try {
        await protocol.leave();
      } finally {
        await session.destroy();
      }
    },
    cleanup: () => protocol.cleanup(),
  };
}

interface State {
  readonly held: boolean;
  readonly index: string;
  /** Nobody holds it, but it could not be had: wait a little instead of for a change. */
  readonly pause?: boolean;
}

interface Protocol {
  enter(): Promise<void>;
  attempt(index: string, signal: AbortSignal): Promise<State>;
  look(index: string, signal: AbortSignal): Promise<State>;
  leave(): Promise<void>;
  cleanup(): Promise<boolean>;
}

function lockProtocol(client: AgentClient, { prefix }: LockOptions, session: string): Protocol {
  const key = lockKey(prefix);
  const read = async (index: string, signal?: AbortSignal): Promise<{ entry: Entry | undefined; index: string }> => {
    const found = await readKeys(client, key, { consistent: true, ...waitFor(index) }, signal);
    const [entry] = found.entries;
    if (entry !== undefined && BigInt(entry.Flags) !== lockFlags) {
      throw new Error('Existing key does not match lock use');
    }
    return { entry, index: found.index };
  };
  return {
    enter: async () => undefined,
    async attempt(from, signal) {
      const { entry, index } = await read(from, signal);
      if (entry?.Session) return { held: entry.Session === session, index };
      const held = await writeKey(client, 'PUT', key, { acquire: session, flags: lockFlags });
      return { held, index: '0', pause: !held && !(await read('0', signal)).entry?.Session };
    },
    async look(from, signal) {
      const { entry, index } = await read(from, signal);
      return { held: entry?.Session === session, index };
    },
    async leave() {
      if (!(await writeKey(client, 'PUT', key, { release: session, flags: lockFlags }))) {
        throw new Error('Lock not held');
      }
    },
    async cleanup() {
      const { entry } = await read('0');
      if (entry === undefined) return true;
      return !entry.Session && (await writeKey(client, 'DELETE', key, { cas: entry.ModifyIndex }));
    },
  };
}

/** What the key of a semaphore holds. */
interface Holders {
  readonly Limit: number;
  readonly Holders: Readonly<Record<string, boolean>>;
}

function semaphoreProtocol(client: AgentClient, { prefix, limit }: LockOptions, session: string): Protocol {
  const key = lockKey(prefix);
  const folder = key.slice(0, -'.lock'.length);
  const contender = `${folder}${session}`;
  /** Holders whose sessions live, and the version of the key they stand in. */
  const read = async (from: string, signal?: AbortSignal) => {
    const { entries, index } = await readKeys(
      client,
      folder,
      { consistent: true, recurse: true, ...waitFor(from) },
      signal,
    );
    const entry = entries.find((one) => one.Key === key);
    if (entry !== undefined && BigInt(entry.Flags) !== semaphoreFlags) {
      throw new Error('Existing key does not match semaphore use');
    }
    const stored = entry?.Value ? (parseGoJson(Buffer.from(entry.Value, 'base64')) as Holders) : undefined;
    if (stored !== undefined && stored.Limit !== limit) {
      throw new Error(`semaphore limit conflict (lock: ${stored.Limit}, local: ${limit})`);
    }
    const alive = new Set(entries.filter((one) => one.Key !== key).map((one) => one.Session));
    const holders = Object.keys(stored?.Holders ?? {}).filter((holder) => alive.has(holder));
    return { holders, version: entry?.ModifyIndex ?? 0, index };
  };
  const write = (holders: readonly string[], version: number | bigint): Promise<boolean> => {
    const value: Holders = { Limit: limit, Holders: Object.fromEntries(holders.map((holder) => [holder, true])) };
    return writeKey(client, 'PUT', key, { cas: version, flags: semaphoreFlags }, JSON.stringify(value));
  };
  return {
    async enter() {
      if (!(await writeKey(client, 'PUT', contender, { acquire: session, flags: semaphoreFlags }))) {
        throw new Error('failed to make contender entry');
      }
    },
    async attempt(from, signal) {
      const { holders, version, index } = await read(from, signal);
      if (holders.includes(session)) return { held: true, index };
      if (holders.length >= limit) return { held: false, index };
      // Lost against another writer: look again at once.
      return { held: await write([...holders, session], version), index: '0' };
    },
    async look(from, signal) {
      const { holders, index } = await read(from, signal);
      return { held: holders.includes(session), index };
    },
    async leave() {
      for (let attempt = 0; attempt < releaseAttemptsMax; attempt++) {
        const { holders, version } = await read('0');
        if (!holders.includes(session)) throw new Error('Semaphore not held');
        const others = holders.filter((holder) => holder !== session);
        if (await write(others, version)) {
          await writeKey(client, 'DELETE', contender, {});
          return;
        }
      }
      throw new Error(`the list of holders in ${key} changed ${releaseAttemptsMax} times while leaving it`);
    },
    async cleanup() {
      const { holders, version } = await read('0');
      if (BigInt(version) === 0n) return true;
      return holders.length === 0 && (await writeKey(client, 'DELETE', key, { cas: version }));
    },
  };
}

/** A session that renews itself until it is destroyed. */
class Session {
  readonly id: string;
  readonly #client: AgentClient;
  readonly #stop = new AbortController();

  private constructor(client: AgentClient, id: string) {
    this.#client = client;
    this.id = id;
  }

  static async create(
    client: AgentClient,
    clock: Clock,
    name: string,
    behavior: 'release' | 'delete',
  ): Promise<Session> {
    const body = JSON.stringify({ Name: name, TTL: `${sessionTtlMs / 1000}s`, Behavior: behavior });
    const { ID } = await client.json<{ readonly ID: string }>('PUT', '/v1/session/create', { body });
    const session = new Session(client, ID);
    void session.#renew(clock);
    return session;
  }

  async destroy(): Promise<void> {
    this.#stop.abort();
    await this.#client.ok('PUT', `/v1/session/destroy/${this.id}`).catch(() => undefined);
  }

  async #renew(clock: Clock): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await sleep(clock, sessionTtlMs / 2, signal);
        await this.#client.ok('PUT', `/v1/session/renew/${this.id}`, { signal });
      } catch {
        // An expired session shows as a lost lock; anything else mends itself or becomes that.
      }
    }
  }
}

/** Asks for a change after `index`, or at once for "0". */
function waitFor(index: string): ClientQuery {
  return index === '0' ? {} : { index, wait: `${waitMs}ms` };
}

async function readKeys(
  client: AgentClient,
  key: string,
  query: ClientQuery,
  signal: AbortSignal | undefined,
): Promise<Read> {
  const { status, headers, body } = await client.request('GET', `/v1/kv/${key}`, { query, signal });
  const index = String(headers['x-consul-index'] ?? '0');
  if (status === 404) return { entries: [], index };
  if (status !== 200) throw new UnexpectedResponseError(status, body.toString('utf8'));
  return { entries: parseGoJson(body) as readonly Entry[], index };
}

async function writeKey(
  client: AgentClient,
  method: 'PUT' | 'DELETE',
  key: string,
  query: ClientQuery,
  body = '',
): Promise<boolean> {
  const answer = await client.ok(method, `/v1/kv/${key}`, { query, body });
  return answer.body.toString('utf8').trim() === 'true';
}
