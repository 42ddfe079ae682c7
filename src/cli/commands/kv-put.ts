import { decodeGoBase64 } from '../../codec/index.ts';
import { attempt, CliError, command } from '../command.ts';
import { namespaceFlag, serverFlags, uint64Flag } from '../flags.ts';
import { readData, writeKv } from '../kv.ts';

export const kvPut = command({
  name: 'kv put',
  operands: 'KEY [DATA]',
  summary: 'Store a value',
  description: [
    'Stores DATA under KEY; without DATA an empty value. "-" reads the value from standard input, "@FILE" from a file.',
  ],
  flags: {
    ...serverFlags,
    ...namespaceFlag,
    flags: { kind: 'string', value: 'NUMBER', help: 'Unsigned 64-bit number to store beside the value. Default 0.' },
    cas: { kind: 'bool', help: 'Store only if the entry still has the index of -modify-index.' },
    'modify-index': { kind: 'string', value: 'NUMBER', help: 'Index to compare with, for -cas.' },
    session: { kind: 'string', value: 'ID', help: 'Session for -acquire and -release.' },
    acquire: { kind: 'bool', help: 'Take the lock on the key, storing the value.' },
    release: { kind: 'bool', help: 'Give the lock on the key back, storing the value.' },
    base64: { kind: 'bool', help: 'DATA is base64; store what it stands for.' },
  },
  async run({ io, values, args, out, client }) {
    const flags = uint64Flag('flags', values.flags);
    const modifyIndex = uint64Flag('modify-index', values['modify-index']);
    const [key, data = ''] = args;
    if (key === undefined) throw new CliError('Error! Missing KEY argument');
    if (args.length > 2) throw new CliError(`Error! Too many arguments (expected 1 or 2, got ${args.length})`);
    let value = await readData(data, io);
    if (values.base64) {
      try {
        value = decodeGoBase64(value.toString('latin1'));
      } catch (error) {
        throw new CliError(`Error! Cannot base 64 decode data: ${(error as Error).message}`, { cause: error });
      }
    }
    const { session = '', acquire = false, release = false, cas = false } = values;
    if ((acquire || release) && session === '') {
      throw new CliError('Error! Missing -session (required with -acquire and -release)');
    }
    if (cas && modifyIndex === 0n) throw new CliError('Must specify -modify-index with -cas!');

    const put = (prefix: string, query: Readonly<Record<string, string | bigint>>): Promise<boolean> =>
      attempt(prefix, writeKv(client(), 'PUT', key, { ...(flags !== 0n && { flags }), ...query }, value));
    const failed = 'Error! Failed writing data';
    if (cas) {
      const written = await put(`Error! Did not write to ${key}`, { cas: modifyIndex });
      if (!written) throw new CliError(`Error! Did not write to ${key}: CAS failed`);
      out(`Success! Data written to: ${key}`);
    } else if (acquire) {
      if (!(await put(failed, { acquire: session }))) throw new CliError('Error! Did not acquire lock');
      out(`Success! Lock acquired on: ${key}`);
    } else if (release) {
      if (!(await put(failed, { release: session }))) throw new CliError('Error! Did not release lock');
      out(`Success! Lock released on: ${key}`);
    } else {
      await put(failed, {});
      out(`Success! Data written to: ${key}`);
    }
    return 0;
  },
});
