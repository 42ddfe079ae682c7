import { attempt, command } from '../command.ts';
import { serverFlags } from '../flags.ts';
import { intentionId } from '../intention.ts';

export const intentionDelete = command({
  name: 'intention delete',
  operands: 'SRC DST | ID',
  summary: 'Delete an intention',
  description: ['Deletes the intention between SRC and DST, or the one with this ID.'],
  flags: serverFlags,
  async run({ args, out, client }) {
    const agent = client();
    const id = await intentionId(agent, args);
    await attempt('Error deleting the intention', agent.ok('DELETE', `/v1/connect/intentions/${id}`));
    out('Intention deleted.');
    return 0;
  },
});
