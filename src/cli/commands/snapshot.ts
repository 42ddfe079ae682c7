/** `snapshot`: all state of the servers in a file. */
import { createWriteStream, readFileSync, renameSync, rmSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { goFileError } from '../../client/index.ts';
import { attempt, CliError, command } from '../command.ts';
import { formatFlag, serverFlags, wantsJson } from '../flags.ts';
import { writeJson } from '../json.ts';
import { checkReadable, verifySnapshot } from '../snapshot-archive.ts';
import { formatTable } from '../text.ts';

const path = '/v1/snapshot';
/** A large state takes its time to be restored; longer than this is a dead peer, ms. */
const restoreTimeoutMs = 3600 * 1000;
/** A snapshot holds all secrets of the cluster: only its owner may read it. */
const snapshotMode = 0o600;

/** The only operand. @throws CliError */
function fileOf(args: readonly string[]): string {
  const [file] = args;
  if (file === undefined) throw new CliError('Missing FILE argument');
  if (args.length > 1) throw new CliError(`Too many arguments (expected 1, got ${args.length})`);
  return file;
}

const save = command({
  name: 'snapshot save',
  operands: 'FILE',
  summary: 'Save the state of the servers',
  description: [
    'Saves all state of the servers (catalog, KV, sessions, ACLs, …) into a file and verifies it. The file holds secrets: keep it safe.',
  ],
  flags: serverFlags,
  async run({ values, args, out, client }) {
    const file = fileOf(args);
    const { body } = await attempt(
      'Error saving snapshot',
      client().stream('GET', path, { query: { stale: values.stale } }),
    );
    // Under its name there is never anything but a whole and verified snapshot.
    const part = `${file}.unverified.tmp${process.pid}`;
    try {
      await pipeline(body, createWriteStream(part, { mode: snapshotMode })).catch((error: unknown) => {
        const isFile = (error as NodeJS.ErrnoException).syscall !== undefined;
        const reason = isFile ? goFileError('open', part, error) : (error as Error).message;
        throw new CliError(`Error writing unverified snapshot file: ${reason}`, { cause: error });
      });
      const { Index } = await attempt('Error verifying snapshot', verifySnapshot(part));
      try {
        renameSync(part, file);
      } catch (error) {
        throw new CliError(`Error writing snapshot file: ${goFileError('rename', file, error)}`, { cause: error });
      }
      out(`Saved and verified snapshot to index ${Index}`);
      return 0;
    } finally {
      rmSync(part, { force: true });
    }
  },
});

const restore = command({
  name: 'snapshot restore',
  operands: 'FILE',
  summary: 'Replace the state of the servers by a saved one',
  description: ['Replaces all state of the servers by that in a file. Everything written since it was saved is lost.'],
  flags: serverFlags,
  async run({ args, out, client }) {
    const file = fileOf(args);
    let body: Buffer;
    try {
      body = readFileSync(file);
    } catch (error) {
      throw new CliError(`Error opening snapshot file: ${goFileError('open', file, error)}`, { cause: error });
    }
    await attempt('Error restoring snapshot', client().ok('PUT', path, { body, timeoutMs: restoreTimeoutMs }));
    out('Restored snapshot');
    return 0;
  },
});

const inspect = command({
  name: 'snapshot inspect',
  operands: 'FILE',
  summary: 'Say what a saved state is',
  description: ['Verifies a file of "snapshot save" and prints what it is. Needs no agent.'],
  flags: formatFlag,
  async run({ io, values, args, out }) {
    const json = wantsJson(values.format);
    const file = fileOf(args);
    await attempt(
      'Error opening snapshot file',
      Promise.resolve().then(() => checkReadable(file)),
    );
    const { ID, Size, Index, Term, Version } = await attempt('Error verifying snapshot', verifySnapshot(file));
    const shown = { ID, Size, Index, Term, Version };
    if (json) writeJson(io, shown);
    else
      out(
        `${formatTable(
          Object.entries(shown).map(([name, value]) => [name, String(value)]),
          6,
        )}\n`,
      );
    return 0;
  },
});

export const snapshot = [save, restore, inspect];
