/**
 * Two nodes that claim one name cannot both stay. Each asks everybody else which of them they know; the one that the
 * majority does not know goes, at once and without a word, because a farewell would be taken for the other's
 * (reference/gossip.md §5.10).
 */
import { decodeShape, MsgpackError } from '../../codec/index.ts';
import type { Logger } from '../../ports/index.ts';
import { conflictResponse, encodeMessage, messageType } from './messages.ts';
import type { MemberTable } from './member-table.ts';
import type { QueryHandle, QueryResponse, ReceivedQuery } from './queries.ts';

export const conflictQuery = '_serf_conflict';

/** Tells the asker what we know of a node; the node in question says nothing about itself. */
export function answerConflictQuery(received: ReceivedQuery, self: string, table: MemberTable): void {
  const name = Buffer.from(received.payload).toString('utf8');
  if (name === self) return;
  const member = table.member(name);
  const record = member === undefined ? null : { ...member, Addr: table.addressBytes(name)! };
  received.respond(encodeMessage(messageType.conflictResponse, conflictResponse, record));
}

/** Asks the pool about our name. @returns whether we keep it. */
export async function keepsName(options: {
  readonly self: string;
  readonly addressBytes: Uint8Array;
  readonly port: number;
  readonly ask: (name: string, payload: Uint8Array) => QueryHandle;
  readonly logger: Logger;
}): Promise<boolean> {
  const { self, addressBytes, port, ask, logger } = options;
  const handle = ask(conflictQuery, Buffer.from(self, 'utf8'));
  await handle.finished;
  let responses = 0;
  let matching = 0;
  for (const response of handle.responses) {
    const record = decodeResponse(response, logger);
    if (record === undefined) continue;
    responses++;
    if (record?.Port === port && record.Addr !== null && Buffer.compare(record.Addr, addressBytes) === 0) matching++;
  }
  const majority = Math.floor(responses / 2) + 1;
  const keeps = matching >= majority;
  const result = `${keeps ? 'majority' : 'minority'} in name conflict resolution [${matching} / ${responses}]`;
  if (keeps) logger.info(`serf: ${result}`);
  else logger.error(`serf: ${result}, quitting: give this node another name (node_name)`, { name: self });
  return keeps;
}

function decodeResponse({ from, payload }: QueryResponse, logger: Logger) {
  try {
    if (payload[0] !== messageType.conflictResponse) throw new MsgpackError(`its type is ${payload[0]}`);
    return decodeShape(conflictResponse, payload.subarray(1));
  } catch (error) {
    if (!(error instanceof MsgpackError)) throw error;
    logger.error('serf: failed to read an answer about our name', { from, error });
    return undefined;
  }
}
