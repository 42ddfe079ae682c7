/** Real streams: TCP with both halves closed on their own, and back-pressure both ways. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { hostPort } from '../lib/index.ts';
import type { Endpoint, Stream, StreamEvents, StreamListener, StreamNetwork } from '../ports/index.ts';
import { socketProblem } from './socket-errors.ts';
import { plainAddress } from './udp-network.ts';

/** Connections the kernel holds until they are accepted. */
const backlog = 1_024;

export class TcpNetwork implements StreamNetwork {
  connect(
    to: Endpoint,
    options: { readonly timeoutMs: number; readonly from?: string; readonly signal?: AbortSignal },
  ): Promise<Stream> {
    const { timeoutMs, from, signal } = options;
    return new Promise((resolve, reject) => {
      const dial = `dial tcp ${hostPort(to.address, to.port)}`;
      if (signal?.aborted === true) {
        reject(signal.reason as Error);
        return;
      }
      const socket = connect({
        host: to.address,
        port: to.port,
        allowHalfOpen: true,
        noDelay: true,
        ...(from === undefined ? {} : { localAddress: from }),
      });
      socket.pause();
      const fail = (error: Error): void => {
        settle();
        socket.on('error', () => {});
        socket.destroy();
        reject(error);
      };
      const onAbort = (): void => fail(signal!.reason as Error);
      const onError = (error: NodeJS.ErrnoException): void =>
        fail(new Error(`${dial}: ${socketProblem(error)}`, { cause: error }));
      const onConnect = (): void => {
        settle();
        resolve(new TcpStream(socket));
      };
      const timer = setTimeout(() => fail(new Error(`${dial}: i/o timeout`)), timeoutMs);
      const settle = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        socket.off('error', onError);
        socket.off('connect', onConnect);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      socket.on('error', onError);
      socket.on('connect', onConnect);
    });
  }

  listen(at: Endpoint, onStream: (stream: Stream) => void): Promise<StreamListener> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) =>
      onStream(new TcpStream(socket)),
    );
    return new Promise((resolve, reject) => {
      server.once('error', (error) =>
        reject(new Error(`listen tcp ${hostPort(at.address, at.port)}: ${socketProblem(error)}`, { cause: error })),
      );
      server.listen({ host: at.address, port: at.port, backlog, exclusive: true }, () => {
        server.removeAllListeners('error');
        // A failed accept (out of descriptors) concerns that connection only.
        server.on('error', () => {});
        resolve({ local: { address: at.address, port: portOf(server) }, close: () => closeServer(server) });
      });
    });
  }
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    // It would wait for the connections; those live on by themselves.
    server.close(() => {});
    resolve();
  });
}

/** A socket of the net module, or one that TLS made of it. */
export class TcpStream implements Stream {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly #socket: Socket;
  #events: StreamEvents | undefined;
  #isPaused = false;
  #error: Error | null = null;
  #isClosed = false;
  #isCloseDelivered = false;

  /**
   * @param socket connected, paused.
   * @param ends where it leads, for a socket that does not know.
   */
  constructor(socket: Socket, ends: Pick<Stream, 'local' | 'remote'> = endsOf(socket)) {
    this.#socket = socket;
    this.local = ends.local;
    this.remote = ends.remote;
    socket.on('error', (error) => (this.#error = error));
    socket.on('close', () => {
      this.#isClosed = true;
      this.#deliverClose();
    });
  }

  get queuedBytes(): number {
    return this.#socket.writableLength;
  }

  subscribe(events: StreamEvents): void {
    const isFirst = this.#events === undefined;
    this.#events = events;
    if (!isFirst) return;
    const socket = this.#socket;
    socket.on('data', (bytes) => this.#events!.onData(bytes));
    socket.on('end', () => {
      this.#events!.onEnd();
    });
    socket.on('drain', () => this.#events!.onDrain());
    if (!this.#isPaused) socket.resume();
    if (this.#isClosed) queueMicrotask(() => this.#deliverClose());
  }

  write(bytes: Uint8Array): boolean {
    return this.#socket.destroyed || this.#socket.writableEnded || this.#socket.write(bytes);
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#events !== undefined) this.#socket.resume();
  }

  end(): void {
    if (!this.#socket.writableEnded) this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #deliverClose(): void {
    if (this.#events === undefined || this.#isCloseDelivered) return;
    this.#isCloseDelivered = true;
    this.#events.onClose(this.#error);
  }
}

function endsOf(socket: Socket): Pick<Stream, 'local' | 'remote'> {
  return {
    local: { address: plainAddress(socket.localAddress ?? ''), port: socket.localPort ?? 0 },
    remote: { address: plainAddress(socket.remoteAddress ?? ''), port: socket.remotePort ?? 0 },
  };
}
