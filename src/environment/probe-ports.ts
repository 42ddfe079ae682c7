/** What the probes need of this machine, and the one way they bound their waiting. */
import type { InterfaceAddress } from '../model/index.ts';
import { type Clock, type DockerEngine, sleep } from '../ports/index.ts';

/** One HTTP exchange without proxy; rejects when there is no answer or `signal` aborts. */
export type HttpRequest = (request: {
  readonly method: 'GET' | 'PUT' | 'POST';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}) => Promise<{
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
}>;

export interface ProbePorts {
  readonly clock: Clock;
  /** Text of a file; undefined when it is missing or unreadable. */
  readonly readFile: (path: string) => Promise<string | undefined>;
  readonly fileExists: (path: string) => Promise<boolean>;
  readonly http: HttpRequest;
  /** Null where no engine is configured. */
  readonly docker: DockerEngine | null;
  readonly interfaces: () => readonly InterfaceAddress[];
  readonly hostname: () => string;
  /** The process environment. */
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/** Runs `work` with a signal that aborts at `limitMs` or with `outer`, and rejects then even if `work` does not heed it. */
export async function within<T>(
  clock: Clock,
  limitMs: number,
  outer: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const done = new AbortController();
  const limit = new AbortController();
  const signal = AbortSignal.any([outer, limit.signal]);
  const expired = sleep(clock, limitMs, AbortSignal.any([outer, done.signal])).then(() => {
    const error = new Error(`no answer within ${limitMs} ms`);
    limit.abort(error);
    throw error;
  });
  try {
    return await Promise.race([work(signal), expired]);
  } finally {
    done.abort(new Error('done'));
    expired.catch(() => {});
  }
}
