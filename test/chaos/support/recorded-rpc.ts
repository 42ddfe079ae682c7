// Calls that real agents and servers have made of each other, as bytes, for tests that bend them.
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const fixtures = resolve(import.meta.dirname, '../../fixtures');

export interface RecordedCall {
  readonly method: string;
  readonly requestHead: Buffer;
  readonly request: Buffer;
  readonly replyHead: Buffer;
  readonly reply: Buffer;
}

type Row = Readonly<Record<string, string | readonly string[] | undefined>>;

function vectors(path: string): readonly Row[] {
  return (JSON.parse(readFileSync(join(fixtures, path), 'utf8')) as { readonly vectors: readonly Row[] }).vectors;
}

const hex = (text: Row[string]): Buffer => Buffer.from([text ?? ''].flat().join(''), 'hex');

/** Every recorded call of port 8300, with its answer. */
export const recordedCalls: readonly RecordedCall[] = readdirSync(join(fixtures, 'rpc'))
  .flatMap((file) => vectors(`rpc/${file}`))
  .flatMap((row) => {
    if (typeof row['method'] !== 'string' || row['request_body_hex'] === undefined) return [];
    return [
      {
        method: row['method'],
        requestHead: hex(row['request_header_hex']),
        request: hex(row['request_body_hex']),
        replyHead: hex(row['response_header_hex']),
        reply: hex(row['response_body_hex']),
      },
    ];
  });

/** Whole connections, as the dialler's bytes: first byte, frames and all. */
export const recordedConnections: readonly Buffer[] = vectors('rpc/connection.json')
  .map((row) => hex(row['sent_hex']))
  .filter((bytes) => bytes.length > 0);

/** Between servers: type byte and request, and the answer. */
export const recordedRaft: readonly { readonly request: Buffer; readonly answer: Buffer }[] = vectors(
  'raft/transport-rpc.json',
)
  .map((row) => ({ request: hex(row['request_hex']), answer: hex(row['reply_hex']) }))
  .filter(({ request, answer }) => request.length > 0 && answer.length > 0);

/** Requests and answers of connections for snapshots. */
export const recordedSnapshots: readonly { readonly request: Buffer; readonly reply: Buffer }[] = vectors(
  'rpc/snapshot.json',
).map((row) => ({ request: hex(row['request_hex']), reply: hex(row['response_hex']) }));
