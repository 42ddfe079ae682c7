// A cache that keeps nothing: every read is a miss, which goes to the caller.
import type { CachedCaller, NamedCaller } from '../../src/model/index.ts';

export function uncached(caller: NamedCaller): CachedCaller {
  return {
    read: async (method, request, _control, signal) => ({
      reply: await caller.call(method, request, signal),
      hit: false,
      ageMs: 0,
    }),
  };
}
