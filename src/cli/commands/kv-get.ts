import { attempt, CliError, command } from '../command.ts';
import { formatFlag, namespaceFlag, serverFlags, wantsJson } from '../flags.ts';
import { writeJson } from '../json.ts';
import { type KvEntry, optionalKey, readKv } from '../kv.ts';

/** Room behind the names of `-detailed`, columns. */
const detailGap = 6;

export const kvGet = command({
  name: 'kv get',
  operands: '[KEY_OR_PREFIX]',
  summary: 'Print a value, or keys and values below a prefix',
  description: [
    'Prints the value of a key as it is, with a line feed behind it. A key that does not exist is an error; a prefix below which nothing exists is not.',
  ],
  flags: {
    ...serverFlags,
    ...namespaceFlag,
    ...formatFlag,
    detailed: { kind: 'bool', help: 'Print flags, indexes and the lock holder too.' },
    keys: { kind: 'bool', help: 'Print the names of keys below the prefix, not their values.' },
    recurse: { kind: 'bool', help: 'Print all keys below the prefix with their values, as key:value.' },
    separator: { kind: 'string', value: 'TEXT', help: 'With -keys: cut names behind this text. Default "/".' },
    base64: { kind: 'bool', help: 'Print values in base64.' },
  },
  async run({ io, values, args, out, client }) {
    const key = optionalKey(args);
    if (key === '' && !values.recurse && !values.keys) throw new CliError('Error! Missing KEY argument');
    const json = wantsJson(values.format);
    const stale = values.stale ?? false;
    const read = <T>(query: Readonly<Record<string, string | true>>): Promise<T | null> =>
      attempt('Error querying Consul agent', readKv<T>(client(), key, { stale, ...query }));
    const print = (...parts: readonly (string | Uint8Array)[]): void => {
      io.stdout.write(Buffer.concat([...parts, '\n'].map((part) => Buffer.from(part as string))));
    };
    const valueOf = (entry: KvEntry): string | Uint8Array =>
      values.base64 ? (entry.Value ?? '') : Buffer.from(entry.Value ?? '', 'base64');
    const printDetailed = (entry: KvEntry): void => {
      const fields: readonly (readonly [string, string])[] = [
        ['CreateIndex', String(entry.CreateIndex)],
        ['Flags', String(entry.Flags)],
        ['Key', entry.Key],
        ['LockIndex', String(entry.LockIndex)],
        ['ModifyIndex', String(entry.ModifyIndex)],
        ['Session', entry.Session || '-'],
      ];
      const width = 'CreateIndex'.length + detailGap;
      for (const [name, value] of fields) out(name.padEnd(width) + value);
      print('Value'.padEnd(width), valueOf(entry));
    };

    if (values.keys) {
      const separator = values.separator ?? '/';
      const keys = await read<string[]>({ keys: true, ...(separator !== '' && { separator }) });
      if (json) writeJson(io, keys ?? []);
      else for (const name of keys ?? []) out(name);
      return 0;
    }
    if (values.recurse) {
      const entries = (await read<KvEntry[]>({ recurse: true })) ?? [];
      if (json) writeJson(io, entries);
      for (const [i, entry] of json ? [] : entries.entries()) {
        if (!values.detailed) {
          print(`${entry.Key}:`, valueOf(entry));
          continue;
        }
        if (i > 0) out('');
        printDetailed(entry);
      }
      return 0;
    }
    const entry = (await read<KvEntry[]>({}))?.[0];
    if (entry === undefined) throw new CliError(`Error! No key exists at: ${key}`);
    if (json) writeJson(io, entry);
    else if (values.detailed) printDetailed(entry);
    else print(valueOf(entry));
    return 0;
  },
});
