/** `Intention.*`: who may talk to whom (reference/server-rpc.md §4.12). */
import { blake2b256 } from '../codec/index.ts';
import {
  CallError,
  defaultNamespace,
  type Intention,
  intentionCoversSource,
  intentionFilterFields,
  intentionPrecedence,
  intentionProblems,
  type IntentionRequest,
} from '../model/index.ts';
import { multiErrorText } from '../lib/index.ts';
import type { Random } from '../ports/index.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter, timed } from './endpoint.ts';
import { filterOf, select } from './selection.ts';

const applySample: readonly string[] = ['consul', 'intention', 'apply'];

export function intentionHandlers(
  endpoint: Endpoint,
  { random }: { readonly random: Random },
): Handlers<'Intention.Apply' | 'Intention.Get' | 'Intention.List' | 'Intention.Match' | 'Intention.Check'> {
  const { store, queries, log, clock } = endpoint;

  /** What the leader fills in before the log, so that the log is deterministic (reference/raft.md §4.4). */
  const complete = (request: IntentionRequest): Partial<Intention> => {
    const wanted = request.Intention;
    const now = new Date(clock.wallMs()).toISOString();
    switch (request.Op) {
      case 'create':
        if (wanted.ID) throw new CallError('ID must be empty when creating a new intention');
        return filledIn({ ...wanted, ID: random.uuid(), CreatedAt: now, UpdatedAt: now });
      case 'update':
        requireExisting('modify', wanted.ID ?? '');
        return filledIn({ ...wanted, UpdatedAt: now });
      case 'delete':
        requireExisting('delete', wanted.ID ?? '');
        return { ID: wanted.ID ?? '' };
      default:
        throw new CallError(`Invalid Intention operation: ${request.Op as string}`);
    }
  };

  const requireExisting = (verb: string, id: string): void => {
    let known: Intention | undefined;
    try {
      known = store.intentions.get(id).result;
    } catch (error) {
      throw new CallError(`Intention lookup failed: ${(error as Error).message}`, { cause: error });
    }
    if (known === undefined) throw new CallError(`Cannot ${verb} non-existent intention: '${id}'`);
  };

  return {
    'Intention.Apply': async (request) => {
      requireDatacenter(endpoint, request);
      return await timed(endpoint, applySample, async () => {
        const intention = complete(request);
        await log.propose({ type: 'Intention', request: { ...request, Intention: intention } });
        return request.Op === 'create' ? intention.ID! : '';
      });
    },
    'Intention.Get': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.intentions.get(request.IntentionID ?? '', watch);
          if (result === undefined) throw new CallError('Intention not found');
          return { ...queryMeta(endpoint, index), Intentions: [result] };
        },
        signal,
      );
    },
    'Intention.List': (request, signal) => {
      requireDatacenter(endpoint, request);
      const filter = filterOf(request.Filter, intentionFilterFields);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.intentions.list(watch);
          const Intentions = select(result, request.Filter ?? '', (one) => filter?.(one) ?? true);
          return { ...queryMeta(endpoint, index), Intentions };
        },
        signal,
      );
    },
    'Intention.Match': (request, signal) => {
      requireDatacenter(endpoint, request);
      const { Match } = request;
      if (!Match) throw new CallError('Match must be specified on args');
      return queries.run(
        request,
        (watch) => {
          const answers = Match.Entries.map((entry) => store.intentions.match(Match.Type, entry, watch));
          return {
            ...queryMeta(endpoint, Math.max(1, ...answers.map(({ index }) => index))),
            Matches: answers.map(({ result }) => (result.length === 0 ? null : result)),
          };
        },
        signal,
      );
    },
    'Intention.Check': async (request) => {
      requireDatacenter(endpoint, request);
      const { Check } = request;
      if (!Check) throw new CallError('Check must be specified on args');
      if (Check.SourceType !== 'consul') {
        throw new CallError(`unsupported SourceType: ${JSON.stringify(Check.SourceType)}`);
      }
      const destination = { Namespace: Check.DestinationNS, Name: Check.DestinationName };
      const decisive = store.intentions
        .match('destination', destination)
        .result.find((one) => intentionCoversSource(one, Check.SourceNS, Check.SourceName));
      return { Allowed: decisive === undefined || decisive.Action === 'allow' };
    },
  };
}

/** @throws CallError with everything that is wrong. */
function filledIn(wanted: Partial<Intention>): Partial<Intention> {
  const intention = {
    ...wanted,
    Description: wanted.Description ?? '',
    SourceNS: wanted.SourceNS || defaultNamespace,
    SourceName: wanted.SourceName ?? '',
    DestinationNS: wanted.DestinationNS || defaultNamespace,
    DestinationName: wanted.DestinationName ?? '',
    SourceType: wanted.SourceType || 'consul',
    Action: wanted.Action ?? '',
    DefaultAddr: wanted.DefaultAddr ?? '',
    Meta: wanted.Meta ?? {},
  };
  const problems = intentionProblems(intention);
  if (problems.length > 0) throw new CallError(multiErrorText(problems));
  return { ...intention, Precedence: intentionPrecedence(intention), Hash: contentHash(intention) };
}

function contentHash(intention: Partial<Intention>): Uint8Array {
  const pairs = Object.entries(intention.Meta ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const parts = [
    intention.ID,
    intention.Description,
    intention.SourceNS,
    intention.SourceName,
    intention.DestinationNS,
    intention.DestinationName,
    intention.SourceType,
    intention.Action,
    intention.DefaultAddr,
    ...pairs.flat(),
  ];
  return blake2b256(Buffer.from(parts.join(''), 'utf8'));
}
