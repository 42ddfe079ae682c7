/** Where alias checks look: this agent's local state, or another node in the catalog, followed by blocking queries. */
import type { AliasedCheck, AliasSource, AliasView } from '../checks/index.ts';
import type { HealthCheck, NamedCaller } from '../model/index.ts';
import { type Clock, sleep } from '../ports/index.ts';
import type { LocalState } from './local-state.ts';

/** After a failed query (ms): servers may be electing, and nobody waits for this. */
const retryMs = 5_000;
/** After an answer that says nothing new (ms). */
const idlePauseMs = 1_000;

export function createAliasSource(dependencies: {
  readonly state: LocalState;
  readonly caller: NamedCaller;
  readonly datacenter: string;
  readonly clock: Clock;
  /** What other nodes are looked at with. */
  readonly token?: () => string;
}): AliasSource {
  const { state, caller, datacenter, clock, token } = dependencies;
  const local: AliasView = {
    hasService: (id) => state.services.has(id),
    checks: () => state.checkRecords.values(),
  };

  async function follow(node: string, onView: (view: AliasView | null) => void, signal: AbortSignal): Promise<void> {
    let index = 0;
    while (!signal.aborted) {
      try {
        const request = { Datacenter: datacenter, Node: node, AllowStale: true, Token: token?.() ?? '' };
        const checks = await caller.call('Health.NodeChecks', { ...request, MinQueryIndex: index }, signal);
        const services = await caller.call('Catalog.NodeServices', request, signal);
        const isNews = checks.Index !== index;
        // A cluster that was restored counts from lower numbers.
        index = checks.Index < index ? 0 : checks.Index;
        onView(
          services.NodeServices === null
            ? null
            : viewOf(Object.keys(services.NodeServices.Services), checks.HealthChecks),
        );
        // A server that answers without news is not asked again at once.
        if (!isNews) await sleep(clock, idlePauseMs, signal);
      } catch {
        if (signal.aborted) return;
        await sleep(clock, retryMs, signal).catch(() => undefined);
      }
    }
  }

  return {
    local: () => local,
    onLocalChange: (callback) => state.onChange(callback),
    watchNode(node, onView) {
      const stop = new AbortController();
      void follow(node, onView, stop.signal);
      return () => stop.abort();
    },
  };
}

function viewOf(serviceIds: readonly string[], checks: readonly HealthCheck[]): AliasView {
  const ids = new Set(serviceIds);
  return { hasService: (id) => ids.has(id), checks: (): Iterable<AliasedCheck> => checks };
}
