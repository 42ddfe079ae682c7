/** `Internal.EventFire`: a server sends an agent's user event to all members (reference/server-rpc.md §2.7, §4.9). */
import { multiErrorText } from '../lib/index.ts';
import { CallError, userEventBytesMax, userEventPrefix } from '../model/index.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter } from './endpoint.ts';

/** Sends a message to every member of the datacenter, this one included. */
export type BroadcastEvent = (name: string, payload: Uint8Array) => void;

export function userEventHandlers(endpoint: Endpoint, broadcast: BroadcastEvent): Handlers<'Internal.EventFire'> {
  return {
    // oxlint-disable-next-line require-await -- a refusal must become a rejection, and nothing here waits
    'Internal.EventFire': async (request) => {
      requireDatacenter(endpoint, request);
      const name = userEventPrefix + request.Name;
      if (Buffer.byteLength(name) + request.Payload.length > userEventBytesMax) {
        const problem = `user event exceeds configured limit of ${userEventBytesMax} bytes before encoding`;
        throw new CallError(multiErrorText([`error broadcasting event to segment "": ${problem}`]));
      }
      broadcast(name, request.Payload);
      return queryMeta(endpoint, 0);
    },
  };
}
