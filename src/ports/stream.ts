/** Ordered bytes both ways with back-pressure, as TCP or TLS gives them. */

/** An IP address and a port. */
export interface Endpoint {
  /** IPv4 or IPv6 in text, without brackets. */
  readonly address: string;
  readonly port: number;
}

/** What happens on a stream; exactly one `onClose` ends it, and nothing follows that. */
export interface StreamEvents {
  /** The bytes are the receiver's to keep. */
  onData(bytes: Uint8Array): void;
  /** The peer sends no more; this side still may. */
  onEnd(): void;
  /** Room to write again after a `write` that answered false. */
  onDrain(): void;
  /** The stream is gone. @param error why, when it did not end in order. */
  onClose(error: Error | null): void;
}

export interface Stream {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /**
   * Takes over what the stream delivers; nothing is delivered (nor lost) before the first call. A later call hands it
   * on, as when the first byte of a connection tells who is to read the rest.
   */
  subscribe(events: StreamEvents): void;
  /** Queues bytes. @returns false when the queue is full: wait for `onDrain`. Ignored once closed. */
  write(bytes: Uint8Array): boolean;
  /** Bytes queued and not yet taken by the network. */
  readonly queuedBytes: number;
  /** Stops delivery, so that the peer feels back-pressure. */
  pause(): void;
  resume(): void;
  /** Sends what is queued, then ends this side. */
  end(): void;
  /** Ends both sides at once; queued bytes are lost. */
  destroy(): void;
}

export interface StreamListener {
  /** What it listens on; the port is never 0. */
  readonly local: Endpoint;
  /** Takes no further stream; those it accepted live on. */
  close(): Promise<void>;
}

export interface StreamNetwork {
  /**
   * Opens a stream.
   * @param options.timeoutMs give up after this long.
   * @param options.from local address to connect from, when it matters.
   * @throws Error refused, unreachable, timed out, or aborted.
   */
  connect(
    to: Endpoint,
    options: { readonly timeoutMs: number; readonly from?: string; readonly signal?: AbortSignal },
  ): Promise<Stream>;
  /**
   * Listens; port 0 takes a free one.
   * @throws Error when the address is in use or not ours.
   */
  listen(at: Endpoint, onStream: (stream: Stream) => void): Promise<StreamListener>;
}
