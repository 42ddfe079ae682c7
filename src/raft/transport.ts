/** How servers reach each other, as the driver sees it; network-transport.ts speaks it over streams. */
import type { RaftRequest, RaftResponse } from './messages.ts';

/** A server to talk to. */
export interface RaftPeer {
  readonly id: string;
  /** `ip:port` of the configuration; where gossip knows a newer address for the id, that one is dialled. */
  readonly address: string;
}

/** State of a snapshot on its way: exactly `size` bytes. */
export interface SnapshotBody {
  readonly size: number;
  readonly pieces: AsyncIterable<Uint8Array>;
}

/** An answer; with `error` the request failed there, for a reason it tells. */
export interface RaftAnswer {
  readonly error: string;
  readonly message: RaftResponse;
}

export interface RaftTransport {
  /**
   * Sends a request. Requests to one peer go out in the order of the calls, heartbeats beside the others.
   * @throws Error no answer, or an answer with an error. UnsupportedRequest when the peer does not know it.
   */
  call(to: RaftPeer, request: RaftRequest, body?: SnapshotBody): Promise<RaftResponse>;
  /** Hands requests of others to `handler`; a body is only valid until the answer. */
  serve(handler: (request: RaftRequest, body: SnapshotBody | undefined) => Promise<RaftAnswer>): void;
  close(): Promise<void>;
}

/** The peer answered that it does not know this kind of request. */
export class UnsupportedRequest extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UnsupportedRequest';
  }
}
