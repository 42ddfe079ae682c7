import { attempt, command } from '../command.ts';
import { clientFlags } from '../flags.ts';

export const reload = command({
  name: 'reload',
  summary: 'Make the agent read its configuration again',
  description: ['Same as sending SIGHUP to the agent, but tells whether the new configuration was good.'],
  flags: clientFlags,
  async run({ out, client }) {
    await attempt('Error reloading', client().ok('PUT', '/v1/agent/reload'));
    out('Configuration reload triggered');
    return 0;
  },
});
