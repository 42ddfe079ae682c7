import { encodeGoJsonString } from '../../codec/index.ts';
import { attempt, command } from '../command.ts';
import { namespaceFlag, serverFlags } from '../flags.ts';
import { type KvEntry, optionalKey, readKv } from '../kv.ts';

export const kvExport = command({
  name: 'kv export',
  operands: '[PREFIX]',
  summary: 'Print keys and values below a prefix as JSON',
  description: ['Prints a JSON array that "kv import" reads again. Values are base64, so any bytes survive.'],
  flags: { ...serverFlags, ...namespaceFlag },
  async run({ values, args, out, client }) {
    const prefix = optionalKey(args);
    const entries = await attempt(
      'Error querying Consul agent',
      readKv<KvEntry[]>(client(), prefix, { recurse: true, stale: values.stale ?? false }),
    );
    const items = (entries ?? []).map(
      ({ Key, Flags, Value }) =>
        `\t{\n\t\t"key": ${encodeGoJsonString(Key)},\n\t\t"flags": ${Flags},\n\t\t"value": "${Value ?? ''}"\n\t}`,
    );
    out(items.length === 0 ? '[]' : `[\n${items.join(',\n')}\n]`);
    return 0;
  },
});
