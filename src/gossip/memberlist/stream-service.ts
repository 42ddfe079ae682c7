/**
 * Streams: one request each, perhaps one reply, then closed (reference/gossip.md §3.7). Every exchange ends at the
 * stream timeout whatever the peer does, and a peer that opens many is turned away.
 */
import type { Clock, Endpoint, Logger, Random, Stream, StreamNetwork } from '../../ports/index.ts';
import type { Security } from './packet.ts';
import { encodeStreamError, sealStream, type StreamMessage, StreamMessageReader } from './stream-message.ts';

/** Streams served at one time, as many as a peer serves push/pulls. */
const servedMax = 127;

export interface StreamServicePorts {
  readonly security: Security;
  readonly timeoutMs: number;
  readonly compress: boolean;
  /** What to answer to a request; null: nothing. `afterReply` runs when the answer is on its way. */
  readonly serve: (
    request: StreamMessage,
    remote: Endpoint,
  ) => { readonly reply: Uint8Array | null; readonly afterReply?: () => void };
  readonly streams: StreamNetwork;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export class StreamService {
  readonly #ports: StreamServicePorts;
  readonly #open = new Set<Stream>();
  #served = 0;
  #stopped = false;

  constructor(ports: StreamServicePorts) {
    this.#ports = ports;
  }

  /** Ends every stream at once. */
  stop(): void {
    this.#stopped = true;
    for (const stream of this.#open) stream.destroy();
  }

  /** Serves a stream that a peer opened. */
  accept(stream: Stream): void {
    const { clock, logger, security, timeoutMs } = this.#ports;
    if (this.#stopped || this.#served >= servedMax) {
      logger.warn('too many streams at once, closing one', { from: stream.remote.address, limit: servedMax });
      stream.destroy();
      return;
    }
    this.#served++;
    this.#open.add(stream);
    const deadline = clock.after(timeoutMs, () => stream.destroy());
    const reader = new StreamMessageReader(security, { accepted: true });
    let isDone = false;
    stream.subscribe({
      onData: (bytes) => {
        if (isDone) return;
        try {
          const request = reader.push(bytes);
          if (request === undefined) return;
          isDone = true;
          this.#serve(stream, request);
        } catch (error) {
          isDone = true;
          const text = (error as Error).message;
          logger.warn('failed to read a stream', { from: stream.remote.address, error: text });
          stream.write(this.#seal(encodeStreamError(text), false));
          stream.end();
        }
      },
      onEnd: () => stream.end(),
      onDrain: () => {},
      onClose: () => {
        deadline.cancel();
        this.#served--;
        this.#open.delete(stream);
      },
    });
  }

  #serve(stream: Stream, request: StreamMessage): void {
    const { reply, afterReply } = this.#ports.serve(request, stream.remote);
    if (reply !== null) stream.write(this.#seal(reply, false));
    stream.end();
    afterReply?.();
  }

  /**
   * Sends a request and waits for the answer.
   * @throws Error when there is none within the timeout, or it is an error.
   */
  async exchange(to: Endpoint, request: Uint8Array, timeoutMs: number = this.#ports.timeoutMs): Promise<StreamMessage> {
    const reply = await this.#talk(to, request, timeoutMs, true);
    if (reply === undefined) throw new Error('the peer closed the stream without an answer');
    if (reply.type === 'error') throw new Error(`remote error: ${reply.text}`);
    return reply;
  }

  /** Sends a message that has no answer. @throws Error when it cannot be delivered. */
  async send(to: Endpoint, message: Uint8Array): Promise<void> {
    await this.#talk(to, message, this.#ports.timeoutMs, false);
  }

  async #talk(
    to: Endpoint,
    request: Uint8Array,
    timeoutMs: number,
    expectsReply: boolean,
  ): Promise<StreamMessage | undefined> {
    const { clock, streams, security } = this.#ports;
    if (this.#stopped) throw new Error('memberlist: shut down');
    const startedMs = clock.monotonicMs();
    const stream = await streams.connect(to, { timeoutMs });
    if (this.#stopped) {
      stream.destroy();
      throw new Error('memberlist: shut down');
    }
    const reader = new StreamMessageReader(security, { accepted: false });
    return new Promise((resolve, reject) => {
      this.#open.add(stream);
      let failure: Error | undefined;
      let reply: StreamMessage | undefined;
      const deadline = clock.after(Math.max(0, startedMs + timeoutMs - clock.monotonicMs()), () => {
        failure ??= new Error(`no answer within ${timeoutMs} ms`);
        stream.destroy();
      });
      stream.subscribe({
        onData: (bytes) => {
          if (reply !== undefined || failure !== undefined) return;
          try {
            reply = reader.push(bytes);
          } catch (error) {
            failure = error as Error;
          }
          if (reply !== undefined || failure !== undefined) stream.destroy();
        },
        onEnd: () => stream.end(),
        onDrain: () => {},
        onClose: (error) => {
          deadline.cancel();
          this.#open.delete(stream);
          const problem = failure ?? (reply === undefined ? error : null);
          if (problem === null) resolve(reply);
          else reject(problem);
        },
      });
      stream.write(this.#seal(request, true));
      // Where an answer is expected, older peers take the end of our side for the end of the stream.
      if (!expectsReply) stream.end();
    });
  }

  #seal(message: Uint8Array, dialled: boolean): Uint8Array {
    const { security, compress, random } = this.#ports;
    return sealStream(message, security, { compress, dialled, random });
  }
}
