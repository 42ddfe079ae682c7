/**
 * `/debug/pprof/`: what this process does with its time and memory (reference/http-api.md §1). The addresses are Go's,
 * so that tools which collect them work; what they get is what V8 can tell: CPU profiles and heap figures as JSON, for
 * the developer tools of a browser.
 */
import { Session } from 'node:inspector/promises';
import { getHeapSpaceStatistics, getHeapStatistics } from 'node:v8';
import { sleep } from '../ports/index.ts';
import { authorize } from './agent-acl.ts';
import { type Answer, Body, HttpError, text } from './answer.ts';
import type { Api } from './api.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint, Handler } from './routes.ts';

/** Length of a profile that is not asked for by `seconds`. */
const profileSecondsDefault = 30;
const traceSecondsDefault = 1;
const secondsMax = 300;

const index = `/debug/pprof/

heap       figures of the heap and its spaces (JSON)
goroutine  what the process waits for, by kind
profile    CPU profile of ?seconds=30 (.cpuprofile)
trace      the same, of ?seconds=1
cmdline    the command line
`;

export function profilingEndpoints(api: Api): readonly Endpoint[] {
  /** V8 makes one profile at a time. */
  let profiling = false;
  const profile = async (request: ApiRequest, secondsDefault: number): Promise<Answer> => {
    const seconds = parseSeconds(request.query.get('seconds'), secondsDefault);
    if (profiling) throw new HttpError(500, 'Could not enable CPU profiling: cpu profiling already in use');
    profiling = true;
    const session = new Session();
    try {
      session.connect();
      await session.post('Profiler.enable');
      await session.post('Profiler.start');
      await sleep(api.clock, seconds * 1000, request.signal);
      const { profile: made } = await session.post('Profiler.stop');
      return download(JSON.stringify(made));
    } finally {
      session.disconnect();
      profiling = false;
    }
  };
  const get = (pattern: string, handler: Handler): Endpoint => ({
    pattern: `/debug/pprof/${pattern}`,
    methods: {
      GET: async (request) => {
        await requireDebug(api, request);
        return await handler(request);
      },
    },
    ignoresNamespace: true,
  });
  return [
    get('', ({ suffix }) => (suffix === '' ? text(200, index) : text(404, 'Unknown profile'))),
    get('heap', () => download(JSON.stringify({ heap: getHeapStatistics(), spaces: getHeapSpaceStatistics() }))),
    get('goroutine', () => text(200, waitingFor())),
    get('cmdline', () => text(200, process.argv.join('\0'))),
    get('profile', (request) => profile(request, profileSecondsDefault)),
    get('trace', (request) => profile(request, traceSecondsDefault)),
  ];
}

/** @throws HttpError while neither `enable_debug` is set nor ACLs say who may. */
async function requireDebug(api: Api, request: ApiRequest): Promise<void> {
  const authorizer = await authorize(api, request);
  if (authorizer === null) {
    if (!api.options().enableDebug) throw new HttpError(401, 'ACL support disabled');
  } else if (!authorizer.maySingle('operator:read')) throw new HttpError(403, '');
}

function parseSeconds(given: string, secondsDefault: number): number {
  const seconds = Number(given);
  return seconds > 0 ? Math.min(seconds, secondsMax) : secondsDefault;
}

function download(content: string): Answer {
  return { status: 200, headers: [['Content-Type', 'application/octet-stream']], body: new Body(content) };
}

function waitingFor(): string {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return [...counts].map(([kind, count]) => `${count} ${kind}\n`).join('') || '0\n';
}
