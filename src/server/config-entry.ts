/** `ConfigEntry.*`: settings for the whole datacenter (reference/server-rpc.md §4.14). */
import {
  CallError,
  configEntryProblem,
  type ConfigEntryRequest,
  isConfigEntryKind,
  normalConfigEntry,
} from '../model/index.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter, timed } from './endpoint.ts';

const applySample: readonly string[] = ['config_entry', 'apply'];
const deleteSample: readonly string[] = ['config_entry', 'delete'];

export function configEntryHandlers(
  endpoint: Endpoint,
): Handlers<'ConfigEntry.Apply' | 'ConfigEntry.Delete' | 'ConfigEntry.Get' | 'ConfigEntry.List'> {
  const { store, queries, log } = endpoint;
  return {
    'ConfigEntry.Apply': async (request) => {
      requireDatacenter(endpoint, request);
      const Entry = normalConfigEntry(request.Entry);
      const problem = configEntryProblem(Entry);
      if (problem !== null) throw new CallError(problem);
      // Whatever is neither of the two is taken as the first.
      const Op = request.Op === 'upsert-cas' ? 'upsert-cas' : 'upsert';
      const command: ConfigEntryRequest = { ...request, Op, Entry };
      const propose = async () => (await log.propose({ type: 'ConfigEntry', request: command })) ?? false;
      return await timed(endpoint, applySample, propose);
    },
    'ConfigEntry.Delete': async (request) => {
      requireDatacenter(endpoint, request);
      const Entry = normalConfigEntry(request.Entry);
      return await timed(endpoint, deleteSample, async () => {
        await log.propose({ type: 'ConfigEntry', request: { ...request, Op: 'delete', Entry } });
        return null;
      });
    },
    'ConfigEntry.Get': (request, signal) => {
      requireDatacenter(endpoint, request);
      requireKind(request.Kind);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.configEntries.get(request.Kind, request.Name ?? '', watch);
          return { ...queryMeta(endpoint, index), Entry: result ?? null };
        },
        signal,
      );
    },
    'ConfigEntry.List': (request, signal) => {
      requireDatacenter(endpoint, request);
      if (request.Kind !== '') requireKind(request.Kind);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.configEntries.list(request.Kind, watch);
          return { ...queryMeta(endpoint, index), Kind: request.Kind, Entries: result };
        },
        signal,
      );
    },
  };
}

function requireKind(kind: string): void {
  if (!isConfigEntryKind(kind)) throw new CallError(`invalid config entry kind: ${kind}`);
}
