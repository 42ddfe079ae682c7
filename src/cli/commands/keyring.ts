import type { AgentClient } from '../../client/index.ts';
import { attempt, CliError, command } from '../command.ts';
import { clientFlags, formatFlag, wantsJson } from '../flags.ts';
import { writeJson } from '../json.ts';

const path = '/v1/operator/keyring';
/** Most members that pass an answer on. */
const relayFactorMax = 5;

/** Keys of one pool, with the number of members that have each. */
interface KeyringPool {
  readonly WAN: boolean;
  readonly Datacenter: string;
  readonly Segment?: string;
  readonly Keys: Readonly<Record<string, number>> | null;
  readonly PrimaryKeys?: Readonly<Record<string, number>> | null;
  readonly NumNodes: number;
}

export const keyring = command({
  name: 'keyring',
  summary: 'Look after the keys of gossip encryption',
  description: [
    'Lists, installs, uses or removes a key on all members of all pools. A new key is installed first, then used, and the old one removed. Only servers answer.',
  ],
  flags: {
    ...clientFlags,
    ...formatFlag,
    list: { kind: 'bool', help: 'List the keys, and how many members have each.' },
    'list-primary': { kind: 'bool', help: 'List the keys that are used to encrypt.' },
    install: { kind: 'string', value: 'KEY', help: 'Let all members accept this key (base64).' },
    use: { kind: 'string', value: 'KEY', help: 'Let all members encrypt with this key.' },
    remove: { kind: 'string', value: 'KEY', help: 'Let all members forget this key.' },
    'relay-factor': {
      kind: 'int',
      value: 'NUMBER',
      help: 'Send answers over so many other members too, for broken networks: 0 to 5. Default 0.',
    },
    'local-only': { kind: 'bool', help: 'With -list: ask only the server that is asked, of the LAN pool.' },
  },
  async run({ io, values, out, help, warn, client }) {
    const { list = false, 'list-primary': listPrimary = false, install = '', use = '', remove = '' } = values;
    const { 'relay-factor': relayFactor = 0, 'local-only': localOnly = false } = values;
    const wanted = [list, listPrimary, install, use, remove].filter(Boolean).length;
    if (wanted === 0) {
      warn(help);
      return 1;
    }
    if (wanted > 1) throw new CliError('Only a single action is allowed');
    if (relayFactor < 0 || relayFactor > relayFactorMax) {
      throw new CliError(`Error parsing relay factor: Relay factor must be in range: [0, ${relayFactorMax}]`);
    }
    if (localOnly && !list && !listPrimary) {
      throw new CliError('Error validating local-only: local-only can only be set for list requests');
    }
    const query = {
      ...(relayFactor > 0 && { 'relay-factor': relayFactor }),
      ...(localOnly && { 'local-only': 'true' }),
    };
    const agent = client();
    if (list || listPrimary) {
      const json = wantsJson(values.format);
      if (!json) out(`==> Gathering installed ${listPrimary ? 'primary ' : ''}encryption keys...`);
      const pools = await attempt('error', agent.json<readonly KeyringPool[]>('GET', path, { query }));
      if (json) writeJson(io, pools);
      else for (const pool of pools) out(`\n${formatPool(pool, listPrimary)}`);
      return 0;
    }
    if (install) {
      out('==> Installing new gossip encryption key...');
      await change(agent, 'POST', install, query);
    } else if (use) {
      out('==> Changing primary gossip encryption key...');
      await change(agent, 'PUT', use, query);
    } else {
      out('==> Removing gossip encryption key...');
      await change(agent, 'DELETE', remove, query);
    }
    return 0;
  },
});

async function change(
  agent: AgentClient,
  method: string,
  key: string,
  query: Readonly<Record<string, number | string>>,
): Promise<void> {
  await attempt('error', agent.ok(method, path, { query, body: JSON.stringify({ Key: key }) }));
}

/** The pool's name and a line for each key. */
export function formatPool(pool: KeyringPool, primary: boolean): string {
  const segment = pool.Segment ? ` [${pool.Segment}]` : '';
  const name = pool.WAN ? 'WAN' : `${pool.Datacenter}${segment} (LAN)`;
  const keys = Object.entries((primary ? pool.PrimaryKeys : pool.Keys) ?? {});
  return [`${name}:`, ...keys.map(([key, count]) => `  ${key} [${count}/${pool.NumNodes}]`)].join('\n');
}
