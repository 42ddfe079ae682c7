import { attempt, CliError, command } from '../command.ts';
import { clientFlags } from '../flags.ts';

export const event = command({
  name: 'event',
  operands: '[payload]',
  summary: 'Send an event to all agents',
  description: [
    'Sends a named event with a small payload to every agent of the datacenter; "watch -type=event" acts on it. -node, -service and -tag are regular expressions that say for whom it is.',
  ],
  flags: {
    ...clientFlags,
    name: { kind: 'string', value: 'NAME', help: 'Name of the event. Required.' },
    node: { kind: 'string', value: 'REGEXP', help: 'Only for nodes of these names.' },
    service: { kind: 'string', value: 'REGEXP', help: 'Only for nodes that have such a service.' },
    tag: { kind: 'string', value: 'REGEXP', help: 'With -service: only if the service has such a tag.' },
  },
  async run({ values, args, out, client }) {
    const { name = '', node = '', service = '', tag = '' } = values;
    if (name === '') throw new CliError('Event name must be specified', { usage: true });
    if (tag !== '' && service === '') throw new CliError('Cannot provide tag filter without service filter.');
    if (args.length > 1) throw new CliError('Too many command line arguments.', { usage: true });
    const agent = client();
    await attempt('Error querying Consul agent', agent.ok('GET', '/v1/agent/self'));
    const { ID } = await attempt(
      'Error firing event',
      agent.json<{ readonly ID: string }>('PUT', `/v1/event/fire/${name}`, {
        query: { ...(node && { node }), ...(service && { service }), ...(tag && { tag }) },
        body: args[0] ?? '',
      }),
    );
    out(`Event ID: ${ID}`);
    return 0;
  },
});
