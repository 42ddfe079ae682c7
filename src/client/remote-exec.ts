/**
 * Remote execution, the side of the one who asks: a session of its own, the command in a folder of the KV store that
 * belongs to the session, and an event that tells the agents. What they write into the folder is the news this gives:
 * an acknowledgement, output, signs of life, the exit code. With the session the folder goes, whatever happens to us.
 */
import { parseGoJson } from '../codec/index.ts';
import { type Clock, sleep } from '../ports/index.ts';
import { type AgentClient, UnexpectedResponseError } from './agent-client.ts';

/** Name of the event. */
const eventName = '_rexec';
/** Life of the session without renewal and time between renewals, ms. */
const sessionTtlMs = 15_000;
const renewMs = 5000;

export interface RemoteJob {
  /** For a shell; "" when there are words or a script. */
  readonly command: string;
  /** For no shell. */
  readonly args: readonly string[];
  readonly script: Uint8Array;
  /** Silence after which an agent gives a sign of life, and for which its end is waited for, ms. */
  readonly waitMs: number;
}

export interface RemoteFilters {
  readonly node: string;
  readonly service: string;
  readonly tag: string;
}

export type RemoteNews =
  | { readonly kind: 'acknowledged' | 'alive'; readonly node: string }
  | { readonly kind: 'output'; readonly node: string; readonly output: Buffer }
  | { readonly kind: 'exit'; readonly node: string; readonly code: number };

const newsOrder: Readonly<Record<RemoteNews['kind'], number>> = { acknowledged: 0, alive: 1, output: 1, exit: 2 };

/** A session and the folder that belongs to it. */
export class RemoteExecution {
  readonly session: string;
  readonly #agent: AgentClient;
  readonly #folder: string;
  readonly #renewals = new AbortController();
  readonly #seen = new Set<string>();

  private constructor(agent: AgentClient, prefix: string, session: string) {
    this.#agent = agent;
    this.session = session;
    this.#folder = [prefix.replace(/\/+$/, ''), session].filter((part) => part !== '').join('/');
  }

  /**
   * Makes the session; it renews itself until {@link destroy}.
   * @param via our own node and datacenter, when the command is for another datacenter: there the session must belong
   *   to a node of that one.
   * @throws what the client throws.
   */
  static async begin(
    agent: AgentClient,
    clock: Clock,
    prefix: string,
    via: { readonly node: string; readonly datacenter: string } | undefined,
  ): Promise<RemoteExecution> {
    const common = { Behavior: 'delete', TTL: `${sessionTtlMs / 1000}s` };
    const wanted =
      via === undefined
        ? { Name: 'Remote Exec', ...common }
        : {
            Name: `Remote Exec via ${via.node}@${via.datacenter}`,
            Node: await aServer(agent),
            NodeChecks: [],
            ...common,
          };
    const { ID } = await agent.json<{ readonly ID: string }>('PUT', '/v1/session/create', {
      body: JSON.stringify(wanted),
    });
    const execution = new RemoteExecution(agent, prefix, ID);
    void execution.#renew(clock);
    return execution;
  }

  async #renew(clock: Clock): Promise<void> {
    const { signal } = this.#renewals;
    while (!signal.aborted) {
      try {
        await sleep(clock, renewMs, signal);
        await this.#agent.ok('PUT', `/v1/session/renew/${this.session}`, { signal });
      } catch {
        // An expired session shows as results that stop; anything else mends itself or becomes that.
      }
    }
  }

  /** Puts the job into the folder. */
  async upload({ command, args, script, waitMs }: RemoteJob): Promise<void> {
    const body = JSON.stringify({
      ...(command !== '' && { Command: command }),
      ...(args.length > 0 && { Args: args }),
      ...(script.length > 0 && { Script: Buffer.from(script).toString('base64') }),
      Wait: waitMs * 1e6,
    });
    const query = { acquire: this.session };
    const { body: answer } = await this.#agent.ok('PUT', `/v1/kv/${this.#folder}/job`, { query, body });
    if (answer.toString('utf8').trim() !== 'true') throw new Error('failed to acquire key');
  }

  /** Tells the agents. @returns the ID of the event. */
  async fire({ node, service, tag }: RemoteFilters): Promise<string> {
    const { ID } = await this.#agent.json<{ readonly ID: string }>('PUT', `/v1/event/fire/${eventName}`, {
      query: { ...(node && { node }), ...(service && { service }), ...(tag && { tag }) },
      body: JSON.stringify({ Prefix: this.#folder.slice(0, -this.session.length - 1), Session: this.session }),
    });
    return ID;
  }

  /**
   * What the agents have written since the last time, waiting for something up to `waitMs`.
   * @returns the news, and the index to wait after.
   */
  async results(
    index: string,
    waitMs: number,
    signal: AbortSignal,
  ): Promise<{ readonly news: readonly RemoteNews[]; readonly index: string }> {
    const folder = `${this.#folder}/`;
    const { status, headers, body } = await this.#agent.request('GET', `/v1/kv/${folder}`, {
      query: { keys: true, wait: `${waitMs}ms`, ...(index !== '' && { index }) },
      signal,
    });
    if (status !== 200 && status !== 404) throw new UnexpectedResponseError(status, body.toString('utf8'));
    const news: RemoteNews[] = [];
    const keys = status === 404 ? [] : (parseGoJson(body) as readonly string[]);
    for (const key of keys) {
      if (this.#seen.has(key)) continue;
      this.#seen.add(key);
      const one = await this.#read(key, key.slice(folder.length));
      if (one !== undefined) news.push(one);
    }
    // Keys come by name, but what a command said comes before how it ended.
    news.sort((a, b) => newsOrder[a.kind] - newsOrder[b.kind]);
    return { news, index: String(headers['x-consul-index'] ?? '') };
  }

  async #read(key: string, name: string): Promise<RemoteNews | undefined> {
    const [, node, what] = /^(.+)\/(ack|exit|out\/[\da-f]+)$/.exec(name) ?? [];
    if (node === undefined || what === undefined) return undefined;
    if (what === 'ack') return { kind: 'acknowledged', node };
    const { status, body } = await this.#agent.request('GET', `/v1/kv/${key}`, { query: { raw: true } });
    if (status !== 200) return undefined;
    if (what === 'exit') return { kind: 'exit', node, code: Number(body.toString('utf8')) };
    return body.length === 0 ? { kind: 'alive', node } : { kind: 'output', node, output: body };
  }

  /** Ends the session, so that nobody can write any more, and then deletes what is there. */
  async destroy(): Promise<void> {
    this.#renewals.abort();
    await this.#agent.ok('PUT', `/v1/session/destroy/${this.session}`).catch(() => undefined);
    await this.#agent.ok('DELETE', `/v1/kv/${this.#folder}`, { query: { recurse: true } }).catch(() => undefined);
  }
}

/** Name of a server of the datacenter that is asked. */
async function aServer(agent: AgentClient): Promise<string> {
  try {
    const servers = await agent.json<readonly { readonly Node: { readonly Node: string } }[]>(
      'GET',
      '/v1/health/service/consul',
      { query: { passing: '1' } },
    );
    if (servers[0] === undefined) throw new Error('no server is healthy');
    return servers[0].Node.Node;
  } catch (error) {
    throw new Error(`Failed to find Consul server in remote datacenter: ${(error as Error).message}`, { cause: error });
  }
}
