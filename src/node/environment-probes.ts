/**
 * The probes' real ports. HTTP goes through node:http and node:https directly, which know no proxy variables: a proxy
 * must never see a request for a link-local metadata service (reference/container-environments.md §9).
 */
import { access, readFile } from 'node:fs/promises';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { hostname } from 'node:os';
import type { ProbePorts } from '../environment/index.ts';
import type { Clock, DockerEngine, HttpClient } from '../ports/index.ts';
import { listInterfaces } from './interfaces.ts';

/** Metadata documents are small, a page of a cloud's list of instances some 100 kB; a longer answer is neither, bytes. */
const bodyBytesMax = 8 * 1024 * 1024;

/** Everything `collectFacts` asks, on this machine. `docker` is null where no engine is configured. */
export function createProbePorts(clock: Clock, docker: DockerEngine | null): ProbePorts {
  return {
    clock,
    docker,
    http: requestOverHttp,
    interfaces: listInterfaces,
    hostname,
    variables: process.env,
    readFile: (path) => readFile(path, 'utf8').catch(() => undefined),
    fileExists: (path) =>
      access(path).then(
        () => true,
        () => false,
      ),
  };
}

/** One request on a connection of its own; rejects with the system's error, which has a `code`, or the abort's reason. */
export const requestOverHttp: HttpClient = ({ method, url, headers, body, ca, signal }) =>
  new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(signal.aborted ? (signal.reason as Error) : error);
    const request = url.startsWith('https:') ? requestHttps : requestHttp;
    const authority = ca === undefined ? {} : { ca };
    const outgoing = request(url, { method, headers, signal, agent: false, ...authority }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > bodyBytesMax)
          response.destroy(new Error(`${url}: the answer is longer than ${bodyBytesMax} bytes`));
        else chunks.push(chunk);
      });
      response.on('error', fail);
      response.on('end', () => {
        const entries = Object.entries(response.headers).map(([name, value]) => [name, String(value)] as const);
        resolve({
          status: response.statusCode ?? 0,
          statusText: response.statusMessage ?? '',
          headers: Object.fromEntries(entries),
          body: Buffer.concat(chunks).toString('utf8'),
        });
      });
    });
    outgoing.on('error', fail);
    outgoing.end(body);
  });
