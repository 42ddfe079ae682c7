/** `KVS.*`: the key/value store (reference/server-rpc.md §4.5). */
import { CallError, kvOps } from '../model/index.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter, timed } from './endpoint.ts';

const applySample: readonly string[] = ['kvs', 'apply'];

export function kvsHandlers(endpoint: Endpoint): Handlers<'KVS.Apply' | 'KVS.Get' | 'KVS.List' | 'KVS.ListKeys'> {
  const { store, queries, log, lockDelays } = endpoint;
  return {
    'KVS.Apply': async (request) => {
      requireDatacenter(endpoint, request);
      if (!(kvOps as readonly string[]).includes(request.Op)) {
        throw new CallError(`Invalid KVS operation '${request.Op as string}'`);
      }
      if (request.DirEnt.Key === '' && request.Op !== 'delete-tree') throw new CallError('Must provide key');
      if (request.Op === 'lock' && lockDelays.isDelayed(request.DirEnt.Key)) return false;
      return await timed(endpoint, applySample, async () => (await log.propose({ type: 'KVS', request })) ?? false);
    },
    'KVS.Get': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.kvGet(request.Key, watch);
          return { ...queryMeta(endpoint, index), Entries: result };
        },
        signal,
      );
    },
    'KVS.List': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.kvList(request.Key, watch);
          return { ...queryMeta(endpoint, index), Entries: result };
        },
        signal,
      );
    },
    'KVS.ListKeys': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.kvKeys(request.Prefix, request.Seperator ?? '', watch);
          return { ...queryMeta(endpoint, index), Keys: result };
        },
        signal,
      );
    },
  };
}
