/** An HTTP client that sends any bytes whatever, and reads whole answers: one connection, one request at a time. */
import { connect, type Socket } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  readonly body: Buffer;
}

/** What came instead of an answer. */
export type RawOutcome = RawAnswer | 'closed' | 'silent';

export class RawHttp {
  readonly #port: number;
  #socket: Socket | undefined;
  #received: Buffer = Buffer.alloc(0);
  #wake: (() => void) | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  /**
   * @param bytes head and body as they are to be sent
   * @param isHead the answer to HEAD has no body
   * @param hangUp nothing more will be sent on this connection
   * @param limitMs how long to wait for the whole answer; the connection is given up then
   */
  async ask(bytes: Uint8Array, limitMs: number, isHead = false, hangUp = false): Promise<RawOutcome> {
    this.#socket ??= this.#connected();
    const socket = this.#socket;
    this.#received = Buffer.alloc(0);
    if (hangUp) socket.end(bytes);
    else socket.write(bytes);
    let silent = false;
    const timer = setTimeout(() => {
      silent = true;
      this.#wake?.();
    }, limitMs);
    try {
      for (;;) {
        const closed = this.#socket !== socket;
        const answer = readAnswer(this.#received, isHead, closed);
        if (answer !== undefined) {
          if (answer.last || hangUp) this.close();
          return answer;
        }
        if (closed) return 'closed';
        if (silent) {
          this.close();
          return 'silent';
        }
        await new Promise<void>((wake) => (this.#wake = wake));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #connected(): Socket {
    const socket = connect(this.#port, '127.0.0.1');
    const ended = (): void => {
      socket.destroy();
      if (this.#socket === socket) this.#socket = undefined;
      this.#wake?.();
    };
    socket.setNoDelay(true);
    socket.on('error', ended);
    socket.on('end', ended);
    socket.on('close', ended);
    socket.on('data', (chunk: Buffer) => {
      if (this.#socket !== socket) return;
      this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
      this.#wake?.();
    });
    return socket;
  }
}

/** The answer at the start of `bytes`, undefined while it is not whole. `last`: the connection is of no more use. */
function readAnswer(bytes: Buffer, isHead: boolean, closed: boolean): (RawAnswer & { last: boolean }) | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const head = bytes.toString('latin1', 0, headEnd);
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? Number.NaN);
  if (Number.isNaN(status)) throw new Error(`no HTTP answer: ${head.slice(0, 200)}`);
  const rest = bytes.subarray(headEnd + 4);
  if (status === 100) return readAnswer(rest, isHead, closed);
  const last = /^connection: close\r?$/im.test(head);
  if (isHead || status === 204 || status === 304) return { status, body: Buffer.alloc(0), last };
  const length = /^content-length: (\d+)\r?$/im.exec(head)?.[1];
  if (length !== undefined) {
    return rest.length < Number(length) ? undefined : { status, body: rest.subarray(0, Number(length)), last };
  }
  if (/^transfer-encoding: chunked\r?$/im.test(head)) {
    const parts: Buffer[] = [];
    for (let at = 0; ;) {
      const line = rest.indexOf('\r\n', at);
      if (line < 0) return undefined;
      const size = Number.parseInt(rest.toString('latin1', at, line), 16);
      if (rest.length < line + 2 + size + 2) return undefined;
      if (size === 0) return { status, body: Buffer.concat(parts), last };
      parts.push(rest.subarray(line + 2, line + 2 + size));
      at = line + 2 + size + 2;
    }
  }
  return closed ? { status, body: rest, last: true } : undefined;
}
