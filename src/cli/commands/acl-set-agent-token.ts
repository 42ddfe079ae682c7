import { serverFlags } from '../flags.ts';
import { attempt, CliError, command } from '../command.ts';

/** Words of the command line and the API's. */
const types: Readonly<Record<string, string>> = {
  default: 'default',
  agent: 'agent',
  master: 'agent_master',
  replication: 'replication',
};

export const aclSetAgentToken = command({
  name: 'acl set-agent-token',
  operands: 'TYPE TOKEN',
  summary: 'Give the agent a token for its own work',
  description: [
    'Gives the agent the token that it uses for its own work. TYPE is default, agent, master or replication. It is forgotten at a restart unless token persistence is on.',
  ],
  flags: serverFlags,
  async run({ args, out, client }) {
    const [type, token] = args;
    if (type === undefined) throw new CliError('Error! Missing TYPE and TOKEN arguments');
    if (token === undefined) throw new CliError('Error! Missing TOKEN argument');
    if (args.length > 2) throw new CliError(`Error! Too many arguments: expected 2 got ${args.length}`);
    if (!Object.hasOwn(types, type)) throw new CliError('Unknown token type');
    await attempt(
      `Failed to set ACL token "${type}"`,
      client().ok('PUT', `/v1/agent/token/${types[type]}`, { body: JSON.stringify({ Token: token }) }),
    );
    out(`ACL token "${type}" set successfully`);
    return 0;
  },
});
