import { type HclValue, parseGoJson, parseHcl } from '../../codec/index.ts';
import { UnexpectedResponseError } from '../../client/index.ts';
import { isConfigEntryKind } from '../../model/index.ts';
import { loadText } from '../acl.ts';
import { CliError, command } from '../command.ts';
import { namespaceFlag, serverFlags, uint64Flag } from '../flags.ts';

export const configWrite = command({
  name: 'config write',
  operands: 'FILE|-',
  summary: 'Create or change a config entry',
  description: ['Writes the config entry in a file, or on standard input with "-". It is HCL or JSON.'],
  flags: {
    ...serverFlags,
    ...namespaceFlag,
    cas: { kind: 'bool', help: 'Write only if the entry still has the index of -modify-index; 0: only if it is new.' },
    'modify-index': { kind: 'string', value: 'NUMBER', help: 'Index to compare with, for -cas. Default 0.' },
  },
  async run({ io, values, args, out, client }) {
    const modifyIndex = uint64Flag('modify-index', values['modify-index']);
    const [operand] = args;
    if (operand === undefined || args.length > 1) {
      throw new CliError('Must provide exactly one positional argument to specify the config entry to write');
    }
    const text = await loadText('Failed to load data', operand === '-' ? '-' : `@${operand}`, io);
    const { entry, kind, name } = readConfigEntry(text);
    let written: boolean;
    try {
      const { body } = await client().ok('PUT', '/v1/config', {
        query: { ...(values.cas && { cas: modifyIndex }) },
        body: JSON.stringify(entry),
      });
      written = body.includes('true');
    } catch (error) {
      // What the agent cannot read at all is our input's fault, and told like the faults found here.
      const refusal = error instanceof UnexpectedResponseError && error.status === 400 ? error.text : undefined;
      const unread = refusal === undefined ? null : /^(?:Bad request: )?Request deco\w+ failed: ([^]*)$/.exec(refusal);
      if (unread !== null) throw notDecoded(new Error(unread[1]));
      throw new CliError(`Error writing config entry ${kind}/${name}: ${(error as Error).message}`, { cause: error });
    }
    if (!written) throw new CliError(`Config entry not updated: ${kind}/${name}`);
    out(`Config entry written: ${kind}/${name}`);
    return 0;
  },
});

function notDecoded(error: Error): CliError {
  return new CliError(`Failed to decode config entry input: ${error.message}`, { cause: error });
}

/** The entry as the API takes it. @throws CliError */
export function readConfigEntry(text: string): {
  readonly entry: object;
  readonly kind: string;
  readonly name: string;
} {
  try {
    const entry = (/^\s*\{/.test(text) ? parseGoJson(text) : withoutLists(parseHcl(text), '')) as object;
    const field = (wanted: string): string => {
      const found = Object.entries(entry).find(([key]) => key.toLowerCase() === wanted)?.[1] as unknown;
      return typeof found === 'string' ? found : '';
    };
    const kind = field('kind');
    if (kind === '') throw new Error('Payload does not contain a kind/Kind key at the top level');
    if (!isConfigEntryKind(kind)) throw new Error(`invalid config entry kind: ${kind}`);
    return { entry, kind, name: field('name') };
  } catch (error) {
    throw notDecoded(error as Error);
  }
}

/** Fields of config entries, in any spelling, that hold lists of blocks. */
const listFields = new Set(['routes', 'splits', 'listeners', 'services', 'header', 'queryparam', 'paths']);

/** In HCL every block is a list of blocks: the only one stands for itself, but in the fields that are lists. */
function withoutLists(value: HclValue, name: string): unknown {
  if (Array.isArray(value)) {
    const [first] = value;
    const isBlock = value.length === 1 && typeof first === 'object' && !Array.isArray(first);
    if (isBlock && !listFields.has(name.toLowerCase().replaceAll('_', ''))) return withoutLists(first, '');
    return value.map((item) => withoutLists(item, ''));
  }
  if (typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withoutLists(item, key)]));
}
