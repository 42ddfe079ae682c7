/**
 * The query part of a URL as Go's `url.ParseQuery` reads it: `&` and `;` separate, `+` is a blank, a name may come
 * several times, and a wrong percent escape spoils the whole query. Values are kept as bytes, because KV separators are.
 */
import { type ByteString, byteStringToUtf8 } from '../lib/index.ts';

export class Query {
  readonly #values: ReadonlyMap<string, readonly ByteString[]>;

  private constructor(values: ReadonlyMap<string, readonly ByteString[]>) {
    this.#values = values;
  }

  static readonly empty = new Query(new Map());

  /** Parses what follows the `?`; null when an escape cannot be decoded. */
  static parse(text: string): Query | null {
    if (text === '') return Query.empty;
    const values = new Map<string, ByteString[]>();
    for (const pair of text.split(/[&;]/)) {
      if (pair === '') continue;
      const equals = pair.indexOf('=');
      const name = percentDecode(unplus(equals < 0 ? pair : pair.slice(0, equals)));
      const value = percentDecode(unplus(equals < 0 ? '' : pair.slice(equals + 1)));
      if (name === null || value === null) return null;
      const key = byteStringToUtf8(name);
      const list = values.get(key);
      if (list === undefined) values.set(key, [value]);
      else list.push(value);
    }
    return new Query(values);
  }

  /** Whether nothing was asked. */
  get isEmpty(): boolean {
    return this.#values.size === 0;
  }

  /** Whether the name is there, with any value: that is what counts for flags such as `recurse`. */
  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** First value as text, "" when absent. */
  get(name: string): string {
    const value = this.bytes(name);
    return value === '' ? '' : byteStringToUtf8(value);
  }

  /** First value as bytes, "" when absent. */
  bytes(name: string): ByteString {
    return this.#values.get(name)?.[0] ?? '';
  }

  /** All values as text, in order. */
  all(name: string): readonly string[] {
    return (this.#values.get(name) ?? []).map(byteStringToUtf8);
  }

  /** The whole query again, ordered by name, as Go's `Values.Encode` writes it. */
  encode(): string {
    return [...this.#values.keys()]
      .sort()
      .flatMap((name) => this.all(name).map((value) => `${encodeComponent(name)}=${encodeComponent(value)}`))
      .join('&');
  }
}

/** Decodes `%XX`; null when an escape is not two hex digits. Characters beyond ASCII count as their UTF-8 bytes. */
export function percentDecode(text: string): ByteString | null {
  if (!/[%\u0080-\uffff]/.test(text)) return text;
  const bytes = Buffer.from(text, 'utf8').toString('latin1');
  if (/%(?![\da-fA-F]{2})/.test(bytes)) return null;
  return bytes.replaceAll(/%([\da-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function unplus(text: string): string {
  return text.includes('+') ? text.replaceAll('+', ' ') : text;
}

function encodeComponent(text: string): string {
  return encodeURIComponent(text)
    .replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%20', '+');
}
