import { attempt, CliError, command } from '../command.ts';
import { namespaceFlag, serverFlags, uint64Flag } from '../flags.ts';
import { optionalKey, writeKv } from '../kv.ts';

export const kvDelete = command({
  name: 'kv delete',
  operands: 'KEY_OR_PREFIX',
  summary: 'Remove a key or all keys below a prefix',
  description: ['Removes a key. A key that does not exist counts as removed.'],
  flags: {
    ...serverFlags,
    ...namespaceFlag,
    recurse: { kind: 'bool', help: 'Remove all keys that begin with the prefix.' },
    cas: { kind: 'bool', help: 'Remove only if the entry still has the index of -modify-index.' },
    'modify-index': { kind: 'string', value: 'NUMBER', help: 'Index to compare with, for -cas.' },
  },
  async run({ values, args, out, client }) {
    const modifyIndex = uint64Flag('modify-index', values['modify-index']);
    const { recurse = false, cas = false } = values;
    const key = optionalKey(args);
    if (key === '' && !recurse) throw new CliError('Error! Missing KEY argument');
    if (cas && modifyIndex === 0n) throw new CliError('Must specify -modify-index with -cas!');
    if (!cas && modifyIndex !== 0n) throw new CliError('Cannot specify -modify-index without -cas!');
    if (cas && recurse) throw new CliError('Cannot specify both -cas and -recurse!');
    if (recurse) {
      await attempt(`Error! Did not delete prefix ${key}`, writeKv(client(), 'DELETE', key, { recurse: true }));
      out(`Success! Deleted keys with prefix: ${key}`);
      return 0;
    }
    const deleted = await attempt(
      cas ? `Error! Did not delete key ${key}` : `Error deleting key ${key}`,
      writeKv(client(), 'DELETE', key, cas ? { cas: modifyIndex } : {}),
    );
    if (cas && !deleted) throw new CliError(`Error! Did not delete key ${key}: CAS failed`);
    out(`Success! Deleted key: ${key}`);
    return 0;
  },
});
