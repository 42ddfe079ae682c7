/**
 * The requests of one connection, one after the other. A client may send many without waiting for answers, and Node
 * would start them all at once; blocking queries would pile up without bound. The peer serves them in turn, and so here
 * the next one starts when the answer before it is complete. Holding up the connection instead would be neater, but
 * Node reads on after every request whatever one tells it; so there is a limit to how many may wait.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

type Serve = (incoming: IncomingMessage, response: ServerResponse) => void;
type Waiting = (readonly [IncomingMessage, ServerResponse])[];

/** Requests that wait on one connection; a client that sends more has it closed. */
export const pipelinedMax = 128;

export class Pipelining {
  readonly #serve: Serve;
  /** The response begun last on each connection. */
  readonly #last = new WeakMap<Socket, ServerResponse>();
  readonly #waiting = new WeakMap<Socket, Waiting>();

  constructor(serve: Serve) {
    this.#serve = serve;
  }

  take(incoming: IncomingMessage, response: ServerResponse): void {
    const { socket } = incoming;
    const waiting = this.#waiting.get(socket);
    if (waiting !== undefined) {
      if (waiting.length < pipelinedMax) waiting.push([incoming, response]);
      else socket.destroy();
      return;
    }
    const last = this.#last.get(socket);
    if (last === undefined || last.writableEnded || last.destroyed) this.#start(socket, incoming, response);
    else {
      this.#waiting.set(socket, [[incoming, response]]);
      last.once('close', () => this.#next(socket));
    }
  }

  #next(socket: Socket): void {
    const [next, ...others] = this.#waiting.get(socket) ?? [];
    this.#waiting.delete(socket);
    if (next === undefined || socket.destroyed) return;
    const [incoming, response] = next;
    if (others.length > 0) {
      this.#waiting.set(socket, others);
      response.once('close', () => this.#next(socket));
    }
    this.#start(socket, incoming, response);
  }

  #start(socket: Socket, incoming: IncomingMessage, response: ServerResponse): void {
    this.#last.set(socket, response);
    this.#serve(incoming, response);
  }
}
