/** One HTTP request, with everything a bench needs to say where to and how. */
import { type Agent, request } from 'node:http';

/** A request that takes longer has failed (ms); blocking queries wait less. */
const limitMs = 90_000;

export interface HttpTarget {
  readonly host?: string;
  readonly port?: number;
  readonly socketPath?: string;
  /** Connections kept open; without it each request makes its own. */
  readonly agent?: Agent;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** @throws on a connection that fails; any status is an answer. */
export function http(
  target: HttpTarget,
  method: string,
  path: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const payload = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const sent = request(
      {
        agent: false,
        ...target,
        method,
        path,
        headers: payload === undefined ? {} : { 'content-type': 'application/json' },
        timeout: limitMs,
        ...(signal === undefined ? {} : { signal }),
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (text += chunk));
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
      },
    );
    sent.on('error', reject);
    sent.on('timeout', () => sent.destroy(new Error(`${method} ${path} took longer than ${limitMs} ms`)));
    sent.end(payload);
  });
}

/** The JSON of a successful answer. @throws on any other status. */
export async function json<T>(target: HttpTarget, method: string, path: string, body?: unknown): Promise<T> {
  const { status, text } = await http(target, method, path, body);
  if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text.trim()}`);
  return (text === '' ? undefined : JSON.parse(text)) as T;
}
