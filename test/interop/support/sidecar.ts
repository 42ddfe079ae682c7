/** What the scenes of clients beside real ones have in common: under which servers, watchers, tokens. */
import { wantedKinds } from '../../chaos/support/cluster-kind.ts';
import type { Cluster, Kind, Member } from '../../helpers/cluster.ts';
import { countFrom } from '../../helpers/settings.ts';
import { waitUntil } from '../../helpers/wait.ts';

export const serverCount = countFrom('PORTOLAN_SERVER_COUNT', 3);
export const serverNames = Array.from({ length: serverCount }, (_, at) => `s${at + 1}`);
const serverKinds = (process.env['PORTOLAN_SERVERS'] ?? 'consul,portolan').split(',') as Kind[];

export interface Kinds {
  readonly servers: Kind;
  readonly clients: Kind;
}
/**
 * Servers of both kinds: PORTOLAN_SERVERS names one, PORTOLAN_SERVER_COUNT says how many (3). PORTOLAN_PEERS=consul
 * puts real clients in the place of ours, to see what the scenes ask of the real thing.
 */
export const sidecarCases: readonly Kinds[] = serverKinds.flatMap((servers) =>
  wantedKinds().map((clients) => ({ servers, clients })),
);

/** Until everybody knows what somebody has registered (ms). */
export const syncLimitMs = 15_000;
/** From the return of the servers until the catalog is right: a failed full sync is repeated within 30 s (ms). */
export const recoveryLimitMs = 60_000;

export interface CatalogService {
  readonly Node: string;
  readonly ServiceID: string;
}

export const masterToken = '00000000-0000-4000-8000-000000000001';
export const agentToken = '00000000-0000-4000-8000-000000000002';
/** Of the token of those who show none; servers make it when they begin to enforce ACLs. */
const anonymousAccessor = '00000000-0000-0000-0000-000000000002';
/** What an agent may do for itself. */
export const agentRules =
  'node_prefix "" { policy = "write" } service_prefix "" { policy = "read" } agent_prefix "" { policy = "read" }';

export function withToken(token: string): { readonly headers: Readonly<Record<string, string>> } {
  return { headers: token === '' ? {} : { 'X-Consul-Token': token } };
}

/** Settings of ACLs for every member, and of servers. */
export function aclSettings(server: boolean): Readonly<Record<string, unknown>> {
  const tokens = { agent: agentToken, ...(server ? { master: masterToken } : {}) };
  return { enabled: true, default_policy: 'deny', tokens };
}

/**
 * Starts the servers, and writes a policy and a token of each name in `rules`, by which the token's secret is found.
 * Waits until every server has them: a client asks any of them, and remembers for 30 s that there is no such token.
 */
export async function startServersWithTokens(
  cluster: Cluster,
  tokens: readonly { readonly name: string; readonly secret: string; readonly rules: string }[],
): Promise<void> {
  for (const server of cluster.servers) server.start();
  const leader = await cluster.leader();
  const asMaster = withToken(masterToken);
  await waitUntil(
    () => `the master token to work\n${leader.logTail}`,
    () => leader.get('/v1/acl/tokens', asMaster).then(Boolean, () => false),
  );
  const accessors = [anonymousAccessor];
  for (const { name, secret, rules } of tokens) {
    await leader.put('/v1/acl/policy', { Name: name, Rules: rules }, asMaster);
    const token = { SecretID: secret, Policies: [{ Name: name }] };
    const { AccessorID } = await leader.put<{ AccessorID: string }>('/v1/acl/token', token, asMaster);
    accessors.push(AccessorID);
  }
  for (const server of cluster.servers) {
    await waitUntil(
      () => `${server.name} to have every token\n${server.logTail}`,
      async () => {
        const list = await server
          .get<{ AccessorID: string }[]>('/v1/acl/tokens?stale', asMaster)
          .catch((): { AccessorID: string }[] => []);
        const known = new Set(list.map(({ AccessorID }) => AccessorID));
        return accessors.every((accessor) => known.has(accessor));
      },
    );
  }
}

/**
 * Starts the clients, and waits until the catalog has what each says of itself, and until each asks for tokens in the
 * present way: a real one takes up to 30 s to look again whether all servers do, and until then knows no token without
 * a policy, the anonymous one least of all. Its tag `acls` says so.
 */
export async function startClientsWithTokens(cluster: Cluster): Promise<void> {
  const asMaster = withToken(masterToken);
  for (const client of cluster.clients) client.start();
  for (const client of cluster.clients) {
    await waitUntil(
      () => `${client.name} to be in the catalog\n${client.logTail}`,
      async () => {
        const nodes = await cluster.servers[0]!.get<{ Node: string; Meta: object | null }[]>(
          '/v1/catalog/nodes',
          asMaster,
        );
        // The leader makes the node, its own agent adds this.
        return nodes.some(({ Node, Meta }) => Node === client.name && Object.keys(Meta ?? {}).length > 0);
      },
      recoveryLimitMs,
    );
    await waitUntil(
      () => `${client.name} to have seen that all servers enforce ACLs\n${client.logTail}`,
      async () => {
        const members = await client
          .get<{ Name: string; Tags: Readonly<Record<string, string>> }[]>('/v1/agent/members', asMaster)
          .catch(() => []);
        return members.some(({ Name, Tags }) => Name === client.name && Tags['acls'] === '1');
      },
      recoveryLimitMs,
    );
  }
}

/** A blocking query that is asked again and again, as clients do. */
export class Watch {
  readonly path: string;
  last = '';
  readonly #headers: Readonly<Record<string, string>>;
  #open = true;

  constructor(asked: Member, path: string, token = '') {
    this.path = path;
    this.#headers = withToken(token).headers;
    void this.#loop(asked);
  }

  close(): void {
    this.#open = false;
  }

  async #loop(asked: Member): Promise<void> {
    const glue = this.path.includes('?') ? '&' : '?';
    let index = '0';
    while (this.#open) {
      try {
        const { status, text, headers } = await asked.request('GET', `${this.path}${glue}index=${index}&wait=60s`, {
          timeoutMs: 90_000,
          headers: this.#headers,
        });
        if (status !== 200 && status !== 404) throw new Error(text);
        this.last = text;
        index = String(headers['x-consul-index'] ?? '0');
      } catch {
        index = '0';
        await pause(200);
      }
    }
  }
}

export function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
