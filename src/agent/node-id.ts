/**
 * The node's ID: given, remembered in the data directory, or made up. It tells servers that a node which changed its
 * address or name is still the same one (reference/agent.md §3.3).
 */
import { createHash } from 'node:crypto';
import type { FileStore, Random } from '../ports/index.ts';

const fileName = 'node-id';
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const uuidLength = 36;

/** Why `id` (lower case) is no UUID, in Go's words; undefined when it is one. */
function problemOf(id: string): string | undefined {
  if (id.length !== uuidLength) return 'uuid string is wrong length';
  return uuidPattern.test(id) ? undefined : 'uuid is improperly formatted';
}

/**
 * @param given `node_id` of the configuration, "" for none; never written to disk.
 * @param files the data directory; undefined in dev mode, where every start makes a new ID.
 * @param hostId the machine's UUID, to make the ID from (`disable_host_node_id=false`); undefined makes one up.
 * @throws Error `failed to setup node ID: …`
 */
export async function resolveNodeId(
  given: string,
  files: FileStore | undefined,
  random: Random,
  hostId?: string,
): Promise<string> {
  if (given !== '') {
    const id = given.toLowerCase();
    const problem = problemOf(id);
    if (problem !== undefined) throw new Error(`failed to setup node ID: specified NodeID is invalid: ${problem}`);
    return id;
  }
  const stored = (await files?.read(fileName))?.trim().toLowerCase();
  if (stored !== undefined && stored !== '') {
    const problem = problemOf(stored);
    if (problem !== undefined) {
      throw new Error(
        `failed to setup node ID: NodeID in ${fileName} is invalid: ${problem}. Delete the file in the data directory to get a new ID.`,
      );
    }
    return stored;
  }
  const id = hostId === undefined ? random.uuid() : distributed(hostId);
  await files?.write(fileName, id, { sync: true });
  return id;
}

/** Machines of one batch have UUIDs that differ little; hashed, as the peer does it, their IDs do not look alike. */
function distributed(hostId: string): string {
  const digits = createHash('sha512').update(hostId).digest('hex');
  return [
    digits.slice(0, 8),
    digits.slice(8, 12),
    digits.slice(12, 16),
    digits.slice(16, 20),
    digits.slice(20, 32),
  ].join('-');
}
