/**
 * HTTP checks (reference/agent.md §4.4): a new connection each time, redirects followed, 2xx passing, 429 warning, all
 * else critical; the end of the body is the output. Header lines are those of the peer, because servers log and filter
 * by them.
 */
import { request as httpRequest, type ClientRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { TailBuffer, hostPort } from '../lib/index.ts';
import type { CheckStatus } from '../model/index.ts';
import type { Clock } from '../ports/index.ts';
import { dialErrorText } from './dial-error.ts';
import type { CheckRunner } from './runner.ts';
import type { CheckTls } from './tls-options.ts';

export const userAgentDefault = 'Consul Health Check';
const redirectsMax = 10;

export interface HttpCheckOptions {
  readonly url: string;
  readonly method: string;
  readonly header: Readonly<Record<string, readonly string[]>>;
  readonly body: string;
  readonly timeoutMs: number;
  readonly outputBytesMax: number;
  readonly skipVerify: boolean;
  readonly serverName: string | undefined;
  readonly userAgent: string;
  readonly tls: CheckTls;
  readonly clock: Clock;
}

export function httpRunner(options: HttpCheckOptions): CheckRunner {
  const { url, method, timeoutMs, clock } = options;
  return {
    async run(report, signal) {
      const cut = new AbortController();
      const onAbort = (): void => cut.abort();
      signal.addEventListener('abort', onAbort, { once: true });
      let timedOut = false;
      const timer = clock.after(timeoutMs, () => {
        timedOut = true;
        cut.abort();
      });
      try {
        const response = await follow(options, cut.signal);
        const body = await readTail(response, options.outputBytesMax);
        signal.throwIfAborted();
        const status = response.statusCode ?? 0;
        report({
          status: statusOf(status),
          output: `HTTP ${method} ${url}: ${status} ${response.statusMessage ?? ''} Output: ${body}`,
        });
      } catch (error) {
        signal.throwIfAborted();
        const why = timedOut
          ? 'context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
          : (error as Error).message;
        const verb = `${method.slice(0, 1)}${method.slice(1).toLowerCase()}`;
        report({ status: 'critical', output: `${verb} ${JSON.stringify(withoutPassword(url))}: ${why}` });
      } finally {
        timer.cancel();
        signal.removeEventListener('abort', onAbort);
        cut.abort();
      }
    },
  };
}

function statusOf(code: number): CheckStatus {
  if (code >= 200 && code <= 299) return 'passing';
  return code === 429 ? 'warning' : 'critical';
}

async function follow(options: HttpCheckOptions, signal: AbortSignal): Promise<IncomingMessage> {
  let url = parseUrl(options.url);
  let { method, body } = options;
  const first = url;
  for (let redirects = 0; redirects <= redirectsMax; redirects++) {
    const response = await send({ ...options, method, body }, url, url.host === first.host, signal);
    const code = response.statusCode ?? 0;
    const { location } = response.headers;
    if (![301, 302, 303, 307, 308].includes(code) || location === undefined) return response;
    response.destroy();
    url = parseUrl(new URL(location, url).href);
    if (code < 307) {
      method = method === 'HEAD' ? 'HEAD' : 'GET';
      body = '';
    }
  }
  throw new Error(`stopped after ${redirectsMax} redirects`);
}

function parseUrl(text: string): URL {
  const url = new URL(text);
  if (url.protocol === 'http:' || url.protocol === 'https:') return url;
  throw new Error(`unsupported protocol scheme ${JSON.stringify(url.protocol.slice(0, -1))}`);
}

function send(options: HttpCheckOptions, url: URL, sameHost: boolean, signal: AbortSignal): Promise<IncomingMessage> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const secure = url.protocol === 'https:';
  return new Promise((resolve, reject) => {
    let request: ClientRequest;
    try {
      request = (secure ? httpsRequest : httpRequest)({
        host,
        port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
        path: `${url.pathname}${url.search}`,
        method: options.method,
        headers: headersOf(options, url, sameHost),
        agent: false,
        signal,
        ...(url.username === ''
          ? {}
          : { auth: `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}` }),
        ...(secure ? { ...options.tls, rejectUnauthorized: !options.skipVerify } : {}),
        // The name of the URL, also when a Host header says another one.
        ...(secure ? { servername: options.serverName ?? (isIP(host) === 0 ? host : '') } : {}),
      });
    } catch (error) {
      reject(error);
      return;
    }
    request.once('response', resolve);
    request.on('error', (error) => {
      const target = hostPort(host, url.port === '' ? (secure ? 443 : 80) : Number(url.port));
      reject(new Error(dialErrorText(error, target), { cause: error }));
    });
    request.end(options.body);
  });
}

function headersOf(options: HttpCheckOptions, url: URL, sameHost: boolean): OutgoingHttpHeaders {
  const headers: Record<string, string | string[]> = {
    Host: url.host,
    'User-Agent': options.userAgent,
    Accept: 'text/plain, text/*, */*',
    'Accept-Encoding': 'gzip',
  };
  const names = new Map(Object.keys(headers).map((name) => [name.toLowerCase(), name]));
  for (const [name, values] of Object.entries(options.header)) {
    const lower = name.toLowerCase();
    if (!sameHost && ['authorization', 'cookie', 'www-authenticate', 'host'].includes(lower)) continue;
    const value = lower === 'host' ? (values[0] ?? url.host) : [...values];
    const known = names.get(lower);
    if (known !== undefined) delete headers[known];
    headers[name] = value;
  }
  if (options.body !== '') headers['Content-Length'] = String(Buffer.byteLength(options.body));
  headers['Connection'] = 'close';
  return headers;
}

/** The end of the body; a body that breaks off does not change the verdict, as with the peer. */
async function readTail(response: IncomingMessage, bytesMax: number): Promise<string> {
  const tail = new TailBuffer(bytesMax);
  const zipped = response.headers['content-encoding'] === 'gzip';
  const body: Readable = zipped ? response.pipe(createGunzip()) : response;
  // An error of the source does not travel through a pipe.
  if (zipped) response.once('error', (error) => body.destroy(error));
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) tail.push(chunk);
  } catch {
    // What came before is the output.
  }
  return Buffer.from(tail.bytes()).toString('utf8');
}

function withoutPassword(text: string): string {
  return text.replace(/^([a-z]+:\/\/[^/@:]*):[^/@]*@/i, '$1:xxxxx@');
}
