/**
 * `/v1/event/`: user events. The list is the agent's own, so its index is no log index: it is made of the newest
 * event's ID, goes up and down, and a query blocks only while it is exactly that (reference/http-api.md §4.2, §9.8).
 */
import type { UserEvent } from '../model/index.ts';
import { authorize } from './agent-acl.ts';
import { type Answer, HttpError, json } from './answer.ts';
import type { Api } from './api.ts';
import { parseIndex, parseTarget, parseWaitMs } from './read-options.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';

/** A wait is prolonged by up to this part of itself, as for every blocking query. */
const jitterFraction = 1 / 16;

const eventView = (event: UserEvent): unknown => ({
  ID: event.ID,
  Name: event.Name,
  Payload: event.Payload,
  NodeFilter: event.NodeFilter,
  ServiceFilter: event.ServiceFilter,
  TagFilter: event.TagFilter,
  Version: event.Version,
  LTime: event.LTime,
});

export function eventEndpoints(api: Api): readonly Endpoint[] {
  return [
    { pattern: '/v1/event/fire/', ignoresNamespace: true, methods: { PUT: (request) => fire(api, request) } },
    { pattern: '/v1/event/list', ignoresNamespace: true, methods: { GET: (request) => listEvents(api, request) } },
  ];
}

async function fire(api: Api, request: ApiRequest): Promise<Answer> {
  const target = parseTarget(request, api.options());
  if (request.name === '') throw new HttpError(400, 'Missing name');
  const { query } = request;
  // A chunked body is not looked at (§5).
  const payload = (request.contentLength ?? 0) > 0 ? await request.body() : null;
  const wanted = {
    Name: request.name,
    Payload: payload,
    NodeFilter: query.get('node'),
    ServiceFilter: query.get('service'),
    TagFilter: query.get('tag'),
  };
  const event = await api.agent.events.fire(wanted, target).catch((error: unknown) => {
    // In these words whoever refused it, without the way that the refusal came.
    const isRefused = error instanceof Error && error.message.includes('Permission denied');
    throw isRefused ? new HttpError(403, 'Permission denied') : error;
  });
  return json(request, eventView(event));
}

async function listEvents(api: Api, request: ApiRequest): Promise<Answer> {
  const waitMs = parseWaitMs(request);
  const known = parseIndex(request.query.get('index'));
  const name = request.query.get('name');
  const authorizer = await authorize(api, request);
  const read = (): readonly UserEvent[] =>
    api.agent.events.events.filter(
      ({ Name }) => (name === '' || Name === name) && (authorizer === null || authorizer.may('event:read', Name)),
    );
  if (known > 0n && indexOf(read()) === known) {
    const { maxQueryTimeMs } = api.options();
    await changed(api, request, () => indexOf(read()) !== known, Math.min(waitMs || maxQueryTimeMs, maxQueryTimeMs));
  }
  const events = read();
  return json(request, events.map(eventView), [['X-Consul-Index', String(indexOf(events))]]);
}

/** Waits until `isOther`, or the time is over; rejects when the client goes. */
function changed(
  { agent, clock, random }: Api,
  request: ApiRequest,
  isOther: () => boolean,
  ms: number,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const { signal } = request;
    const end = (): void => {
      stop();
      timer.cancel();
      signal.removeEventListener('abort', onAbort);
    };
    const done = (): void => {
      end();
      resolve();
    };
    const onAbort = (): void => {
      end();
      reject(signal.reason as Error);
    };
    const stop = agent.events.onEvent(() => {
      if (isOther()) done();
    });
    const timer = clock.after(ms * (1 + random.next() * jitterFraction), done);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

/** The two halves of the newest event's ID, one over the other; 1 without events. */
function indexOf(events: readonly UserEvent[]): bigint {
  const newest = events.at(-1);
  if (newest === undefined) return 1n;
  const digits = newest.ID.replaceAll('-', '');
  return BigInt(`0x${digits.slice(0, 16)}`) ^ BigInt(`0x${digits.slice(16)}`);
}
