/**
 * When a prepared query finds nobody at home it asks elsewhere: first the nearest other datacenters, then those it
 * names, each once, until one has an answer (reference/http-api.md §9.7).
 */
import type {
  PreparedQuery,
  PreparedQueryExecuteRemoteRequest,
  PreparedQueryExecuteReply,
  PreparedQueryExecuteRequest,
} from '../model/index.ts';
import type { Logger } from '../ports/index.ts';

/** The way to other datacenters. */
export interface OtherDatacenters {
  readonly logger: Logger;
  /** Those that are known, nearest first. */
  byDistance(): readonly string[];
  executeRemote(request: PreparedQueryExecuteRemoteRequest): Promise<PreparedQueryExecuteReply>;
}

/** @returns the first reply with instances, else the last one, else `own`; counted are all that were asked. */
export async function failOver(
  query: PreparedQuery,
  own: PreparedQueryExecuteReply,
  request: PreparedQueryExecuteRequest,
  others: OtherDatacenters,
): Promise<PreparedQueryExecuteReply> {
  let reply = own;
  let Failovers = 0;
  for (const Datacenter of candidates(query, others)) {
    Failovers++;
    const { QueryIDOrName: _, Source: __, Agent: ___, ...options } = request;
    try {
      reply = await others.executeRemote({ ...options, Datacenter, Query: query });
    } catch (error) {
      others.logger.warn('Failed querying for service in datacenter', {
        service: query.Service.Service,
        datacenter: Datacenter,
        error,
      });
      continue;
    }
    if (reply.Nodes.length > 0) break;
  }
  return { ...reply, Failovers };
}

function candidates({ Service: { Service, Failover } }: PreparedQuery, others: OtherDatacenters): ReadonlySet<string> {
  if (Failover.NearestN === 0 && !Failover.Datacenters?.length) return new Set();
  const known = others.byDistance();
  const chosen = new Set(known.slice(0, Failover.NearestN));
  for (const datacenter of Failover.Datacenters ?? []) {
    if (known.includes(datacenter)) chosen.add(datacenter);
    else others.logger.debug('Skipping unknown datacenter in prepared query', { service: Service, datacenter });
  }
  return chosen;
}
