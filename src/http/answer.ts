/**
 * What a handler gives back. Handlers decide status, headers and body; spelling, compression and the headers that
 * belong to every answer are the server's work (reference/http-api.md §1).
 */
import { gzip, gzipSync } from 'node:zlib';
import { promisify } from 'node:util';
import { encodeGoJson } from '../codec/index.ts';

export type Header = readonly [name: string, value: string];

/** Compressing less than this blocks the event loop shorter than a trip to the thread pool takes (bytes). */
const gzipSyncBytesMax = 16 * 1024;
/** Fast, because answers are compressed for every request of the usual clients. */
const gzipOptions = { level: 1 };
const gzipAsync = promisify(gzip);

/** The bytes of an answer; may be shared by many answers, so the compressed form is made once. */
export class Body {
  readonly bytes: Uint8Array;
  #gzipped: Uint8Array | Promise<Uint8Array> | null = null;

  constructor(content: string | Uint8Array) {
    this.bytes = typeof content === 'string' ? Buffer.from(content, 'utf8') : content;
  }

  gzipped(): Uint8Array | Promise<Uint8Array> {
    if (this.#gzipped === null) {
      if (this.bytes.length <= gzipSyncBytesMax) {
        this.#gzipped = gzipSync(this.bytes, gzipOptions);
      } else {
        this.#gzipped = gzipAsync(this.bytes, gzipOptions).then((compressed) => {
          this.#gzipped = compressed;
          return compressed;
        });
      }
    }
    return this.#gzipped;
  }
}

/** Where a streamed answer is written. */
export interface Sink {
  /** False once the client reads slower than lines come: the caller should leave lines out. */
  write(text: string): boolean;
}

export interface Answer {
  readonly status: number;
  readonly headers: readonly Header[];
  readonly body: Body | null;
  /**
   * Takes the place of `body`: an endless answer, whose headers go out at once and which is never compressed. Returns
   * what is to be called when the client goes away.
   */
  readonly stream?: (sink: Sink) => () => void;
  /** Takes the place of `body`: an answer of any size, which is never compressed here. Cut off when it fails. */
  readonly pieces?: AsyncIterable<Uint8Array>;
  /** Close the connection afterwards, because the rest of the request was not read. */
  readonly close?: boolean;
}

export const textType = 'text/plain; charset=utf-8';
const jsonHeader: Header = ['Content-Type', 'application/json'];

/**
 * Any text as the value of a header: bytes as they are in UTF-8, blanks for what would end the line. Node.js refuses
 * others, at a point where only the process can end.
 */
export function headerValue(text: string): string {
  const bytes = Buffer.from(text).toString('latin1');
  // oxlint-disable-next-line no-control-regex -- finding control characters is the purpose
  return bytes.replaceAll(/[\0-\x08\x0a-\x1f\x7f]/g, ' ');
}

/** An answer without body. */
export function empty(status = 200, headers: readonly Header[] = []): Answer {
  return { status, headers, body: null };
}

export function text(status: number, content: string, headers: readonly Header[] = []): Answer {
  if (content === '') return empty(status, headers);
  return { status, headers: [['Content-Type', textType], ...headers], body: new Body(content) };
}

/** Something that knows the layout asked for: a request. */
export interface WithLayout {
  readonly pretty: boolean;
}

export function json(layout: WithLayout, value: unknown, headers: readonly Header[] = [], status = 200): Answer {
  return jsonBody(new Body(encodeGoJson(value, layout)), headers, status);
}

/** Like {@link json}, of a value that was encoded before. */
export function jsonBody(body: Body, headers: readonly Header[] = [], status = 200): Answer {
  return { status, headers: [jsonHeader, ...headers], body };
}

/** A request that is refused: becomes a text answer. */
export class HttpError extends Error {
  readonly status: number;
  readonly headers: readonly Header[];
  readonly close: boolean;

  constructor(status: number, message: string, options: { headers?: readonly Header[]; close?: boolean } = {}) {
    super(message);
    this.name = 'HttpError';
    this.status = status;
    this.headers = options.headers ?? [];
    this.close = options.close ?? false;
  }
}

/** Refusals of Consul's generic helper carry this prefix (§7). */
export function badRequest(message: string): HttpError {
  return new HttpError(400, `Bad request: ${message}`);
}
