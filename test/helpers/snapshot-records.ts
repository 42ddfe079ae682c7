/** What a server has applied, told so that two servers can be compared: its snapshot, decoded, in one order. */
import { gunzipSync } from 'node:zlib';
import { decodeMsgpack, MsgpackStream, type MsgpackValue, TarReader } from '../../src/codec/index.ts';
import { ports, type Member } from './cluster.ts';

/** Largest record of a snapshot (bytes). */
const recordBytesMax = 2 ** 30;

/** The records of an archive as text, sorted: the header, then `TYPE {fields}` of each. */
export function recordsOfArchive(archive: Uint8Array): readonly string[] {
  let current: Buffer[] = [];
  const files = new Map<string, Buffer[]>();
  const reader = new TarReader({
    onFile: (name) => files.set(name, (current = [])),
    onData: (chunk) => current.push(Buffer.from(chunk)),
  });
  reader.push(gunzipSync(archive));
  reader.end();
  const stream = new MsgpackStream(recordBytesMax);
  stream.push(Buffer.concat(files.get('state.bin') ?? []));
  const records = [`header ${tell(decodeMsgpack(stream.next()!))}`];
  for (let type = stream.next(); type !== undefined; type = stream.next()) {
    records.push(`${type[0]} ${tell(decodeMsgpack(stream.next()!))}`);
  }
  return records.toSorted();
}

/** What a server itself has applied. */
export async function recordsOfServer(server: Member): Promise<readonly string[]> {
  return recordsOfArchive(await saveSnapshot(server, '?stale'));
}

/** The archive as the API hands it out. @param query `?stale` for the server's own state */
export async function saveSnapshot(server: Member, query = ''): Promise<Buffer> {
  const response = await fetch(`http://${server.address}:${ports.http}/v1/snapshot${query}`);
  if (response.status !== 200) throw new Error(`${server.name}: snapshot: ${response.status} ${await response.text()}`);
  return Buffer.from(await response.arrayBuffer());
}

/** JSON with sorted names, and bytes as text. */
function tell(value: MsgpackValue): string {
  return JSON.stringify(value, (_, inner: unknown) => {
    if (inner instanceof Uint8Array) return Buffer.from(inner).toString('latin1');
    if (typeof inner === 'bigint') return `${inner}n`;
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
}
