/**
 * From path to endpoint as Go's ServeMux does it: an exact path, or a prefix that ends in `/`; the longest wins; paths
 * that are not clean are redirected. Paths are bytes: a KV key may be any bytes (reference/http-api.md §1).
 */
import type { ByteString } from '../lib/index.ts';
import type { Answer } from './answer.ts';
import type { ApiRequest } from './request.ts';

export type Handler = (request: ApiRequest) => Answer | Promise<Answer>;

export interface Endpoint {
  /** `/v1/agent/self`, or `/v1/kv/` for everything below. */
  readonly pattern: string;
  /** Handlers by method, in the order of the `Allow` header. */
  readonly methods: Readonly<Record<string, Handler>>;
  /** Takes requests of every method, OPTIONS too, in the place of the server's own answers. */
  readonly anyMethod?: Handler;
  /** `ns` and `X-Consul-Namespace` are not looked at (§2). */
  readonly ignoresNamespace?: boolean;
}

export interface Route {
  readonly endpoint: Endpoint;
  /** What follows the prefix, percent-decoded. */
  readonly suffix: ByteString;
}

/** What becomes of a path. */
export type Routing = Route | { readonly redirect: ByteString } | null;

export class Router {
  readonly #exact = new Map<string, Endpoint>();
  /** Longest first. */
  readonly #prefixes: readonly Endpoint[];

  constructor(endpoints: readonly Endpoint[]) {
    for (const endpoint of endpoints) this.#exact.set(endpoint.pattern, endpoint);
    this.#prefixes = endpoints
      .filter(({ pattern }) => pattern.endsWith('/'))
      .sort((a, b) => b.pattern.length - a.pattern.length);
  }

  route(path: ByteString): Routing {
    const clean = cleanPath(path);
    if (clean !== path) return { redirect: clean };
    const exact = this.#exact.get(path);
    if (exact !== undefined) return { endpoint: exact, suffix: '' };
    for (const endpoint of this.#prefixes) {
      if (path.startsWith(endpoint.pattern)) return { endpoint, suffix: path.slice(endpoint.pattern.length) };
    }
    return this.#exact.has(`${path}/`) ? { redirect: `${path}/` } : null;
  }
}

/** Removes empty, `.` and `..` segments; a final slash stays. */
export function cleanPath(path: ByteString): ByteString {
  if (path.startsWith('/') && !/\/(?:\/|\.{1,2}(?:\/|$))/.test(path)) return path;
  const segments: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  const clean = `/${segments.join('/')}`;
  return path.endsWith('/') && clean !== '/' ? `${clean}/` : clean;
}

/** Percent-encodes a path as Go does in a `Location`. */
export function encodePath(path: ByteString): string {
  return path.replaceAll(
    /[^\w\-.~$&+,/:;=@]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}
