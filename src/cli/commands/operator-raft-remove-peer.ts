import { attempt, CliError, command } from '../command.ts';
import { serverFlags } from '../flags.ts';

export const operatorRaftRemovePeer = command({
  name: 'operator raft remove-peer',
  summary: 'Remove a server from the Raft configuration',
  description: [
    'Removes a server that is gone for good and did not leave. Removing one that runs makes it useless until it joins anew.',
  ],
  flags: {
    ...serverFlags,
    address: { kind: 'string', value: 'IP:PORT', help: 'Address of the server.' },
    id: { kind: 'string', value: 'ID', help: 'ID of the server.' },
  },
  async run({ values, out, client }) {
    const { address = '', id = '' } = values;
    const failed = 'Error removing peer';
    if (address === '' && id === '') {
      throw new CliError(`${failed}: an address or id is required for the peer to remove`);
    }
    if (address !== '' && id !== '') throw new CliError(`${failed}: cannot give both an address and id`);
    const query = id === '' ? { address } : { id };
    await attempt(failed, client().ok('DELETE', '/v1/operator/raft/peer', { query }));
    out(
      id === '' ? `Removed peer with address ${JSON.stringify(address)}` : `Removed peer with id ${JSON.stringify(id)}`,
    );
    return 0;
  },
});
