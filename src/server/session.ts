/** `Session.*`: leases that hold locks (reference/server-rpc.md §4.6). */
import { formatGoDuration, GoDurationError, parseGoDuration } from '../codec/index.ts';
import { CallError, sessionBehaviors, type SessionRequest, type SessionSpecificRequest } from '../model/index.ts';
import type { Random } from '../ports/index.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter, timed } from './endpoint.ts';
import type { SessionTimers } from './session-timers.ts';

/** Shortest TTL a session may have, ms (`session_ttl_min`). */
export const sessionTtlMinMsDefault = 10_000;
/** Longest TTL, ns. */
const ttlNsMax = 24 * 3600e9;
const nsPerMs = 1_000_000;
const applySample: readonly string[] = ['session', 'apply'];
const renewSample: readonly string[] = ['session', 'renew'];

export function sessionHandlers(
  endpoint: Endpoint,
  duties: { readonly timers: SessionTimers; readonly random: Random; readonly ttlMinMs: number },
): Handlers<'Session.Apply' | 'Session.Get' | 'Session.List' | 'Session.NodeSessions' | 'Session.Renew'> {
  const { store, queries, log } = endpoint;
  const unusedId = (): string => {
    for (;;) {
      const id = duties.random.uuid();
      if (store.session(id).result === null) return id;
    }
  };
  return {
    'Session.Apply': async (request) => {
      requireDatacenter(endpoint, request);
      const valid = validated(request, duties.ttlMinMs);
      // The log must say the same to every server, so the leader makes the id.
      const Session = valid.Op === 'create' ? { ...valid.Session, ID: unusedId() } : valid.Session;
      const command = { type: 'Session', request: { ...valid, Session } } as const;
      return await timed(endpoint, applySample, async () => (await log.propose(command)) ?? '');
    },
    'Session.Get': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.session(idOf(request), watch);
          return { ...queryMeta(endpoint, index), Sessions: result };
        },
        signal,
      );
    },
    'Session.List': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.sessions(watch);
          return { ...queryMeta(endpoint, index), Sessions: result };
        },
        signal,
      );
    },
    'Session.NodeSessions': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.nodeSessions(request.Node, watch);
          return { ...queryMeta(endpoint, index), Sessions: result };
        },
        signal,
      );
    },
    'Session.Renew': async (request) => {
      requireDatacenter(endpoint, request);
      return await timed(endpoint, renewSample, async () => {
        const { index, result } = store.session(idOf(request));
        if (result !== null) duties.timers.renew(result[0]);
        // The peer leaves this reply's freshness empty (server-rpc.md §3.4).
        return { Index: index, LastContact: 0, KnownLeader: false, Sessions: result };
      });
    },
  };
}

function idOf(request: SessionSpecificRequest): string {
  return request.SessionID || request.Session || '';
}

/** @throws CallError with the peer's text. */
function validated(request: SessionRequest, ttlMinMs: number): SessionRequest {
  const { Op, Session } = request;
  if (Op === 'destroy' && !Session.ID) throw new CallError('Must provide ID');
  if (Op === 'create' && !Session.Node) throw new CallError('Must provide Node');
  const Behavior = Session.Behavior || 'release';
  if (!(sessionBehaviors as readonly string[]).includes(Behavior)) {
    throw new CallError(`Invalid Behavior setting '${Behavior}'`);
  }
  if (Session.TTL) {
    const ttlNs = parseTtlNs(Session.TTL);
    if (ttlNs !== 0 && (ttlNs < ttlMinMs * nsPerMs || ttlNs > ttlNsMax)) {
      const range = `[${formatGoDuration(ttlMinMs * nsPerMs)}=${formatGoDuration(ttlNsMax)}]`;
      throw new CallError(`Invalid Session TTL '${ttlNs}', must be between ${range}`);
    }
  }
  return { ...request, Session: { ...Session, Behavior } };
}

function parseTtlNs(text: string): number {
  try {
    return parseGoDuration(text);
  } catch (error) {
    if (error instanceof GoDurationError) throw new CallError(`Session TTL '${text}' invalid: ${error.message}`);
    throw error;
  }
}
