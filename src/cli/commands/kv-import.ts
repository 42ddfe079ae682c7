import { decodeGoBase64, GoJsonError, parseGoJson } from '../../codec/index.ts';
import { attempt, CliError, command } from '../command.ts';
import { namespaceFlag, serverFlags } from '../flags.ts';
import { readData, writeKv } from '../kv.ts';

interface ImportEntry {
  readonly key: string;
  readonly flags: number | bigint;
  /** base64. */
  readonly value: string;
}

export const kvImport = command({
  name: 'kv import',
  operands: 'DATA',
  summary: 'Store keys and values from JSON',
  description: [
    'Stores what "kv export" printed. "-" reads standard input, "@FILE" a file. Stops at the first error; keys before it stay stored.',
  ],
  flags: { ...serverFlags, ...namespaceFlag },
  async run({ io, args, out, client }) {
    const [operand] = args;
    if (operand === undefined) throw new CliError('Error! Missing DATA argument');
    if (args.length > 1) throw new CliError(`Error! Too many arguments (expected 1, got ${args.length})`);
    if (operand === '') throw new CliError('Error! Empty DATA argument');
    const data = await readData(operand, io);
    for (const { key, flags, value } of readEntries(data)) {
      let bytes: Buffer;
      try {
        bytes = decodeGoBase64(value);
      } catch (error) {
        throw new CliError(`Error base 64 decoding value for key ${key}: ${(error as Error).message}`, {
          cause: error,
        });
      }
      await attempt(
        `Error! Failed writing data for key ${key}`,
        writeKv(client(), 'PUT', key, BigInt(flags) === 0n ? {} : { flags: BigInt(flags) }, bytes),
      );
      out(`Imported: ${key}`);
    }
    return 0;
  },
});

function readEntries(data: Buffer): readonly ImportEntry[] {
  const refuse = (reason: string, cause?: unknown): CliError =>
    new CliError(`Cannot unmarshal data: ${reason}`, { cause });
  let parsed: unknown;
  try {
    parsed = parseGoJson(data);
    JSON.parse(data.toString('utf8')); // The parser above stops behind the first value; this finds what follows it.
  } catch (error) {
    if (!(error instanceof GoJsonError)) throw refuse('invalid character after top-level value', error);
    throw refuse(error.message.endsWith('EOF') ? 'unexpected end of JSON input' : error.message, error);
  }
  if (parsed === null) return [];
  if (!Array.isArray(parsed)) throw refuse('expected a list of {"key", "flags", "value"} objects');
  return parsed.map((item: unknown, i) => {
    const fields = new Map(
      Object.entries((item ?? {}) as Readonly<Record<string, unknown>>).map(([name, field]) => [
        name.toLowerCase(),
        field,
      ]),
    );
    const key = fields.get('key') ?? '';
    const flags = fields.get('flags') ?? 0;
    const value = fields.get('value') ?? '';
    if (typeof key !== 'string') throw refuse(`"key" of entry ${i + 1} must be a string`);
    if (typeof value !== 'string') throw refuse(`"value" of entry ${i + 1} must be a base64 string`);
    if ((typeof flags !== 'number' && typeof flags !== 'bigint') || !isUint64(flags)) {
      throw refuse(`"flags" of entry ${i + 1} must be a whole number from 0 to 2^64-1`);
    }
    return { key, flags, value };
  });
}

function isUint64(value: number | bigint): boolean {
  return typeof value === 'bigint' ? value >= 0n && value < 2n ** 64n : Number.isSafeInteger(value) && value >= 0;
}
