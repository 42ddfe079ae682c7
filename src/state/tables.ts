/** Everything that commands may change, together: a restore makes all of it anew. */
import { AclTables } from './acl.ts';
import { AutopilotRow } from './autopilot.ts';
import { Catalog } from './catalog.ts';
import { ConfigEntryTable } from './config-entry.ts';
import { ConnectCaTables } from './connect-ca.ts';
import { CoordinateTable } from './coordinates.ts';
import { FederationStateTable } from './federation-states.ts';
import { IndexRows } from './index-rows.ts';
import { IntentionTable } from './intention.ts';
import { KvTable } from './kv-table.ts';
import { QueryTable } from './prepared-query.ts';
import { SessionTable } from './session-table.ts';

export interface Tables {
  readonly acl: AclTables;
  readonly catalog: Catalog;
  readonly kv: KvTable;
  readonly sessions: SessionTable;
  readonly coordinates: CoordinateTable;
  readonly queries: QueryTable;
  readonly intentions: IntentionTable;
  readonly configEntries: ConfigEntryTable;
  readonly connectCa: ConnectCaTables;
  readonly autopilot: AutopilotRow;
  readonly federationStates: FederationStateTable;
  readonly rows: IndexRows;
}

export function newTables(): Tables {
  const rows = new IndexRows();
  return {
    acl: new AclTables(rows),
    catalog: new Catalog(),
    kv: new KvTable(),
    sessions: new SessionTable(),
    coordinates: new CoordinateTable(rows),
    queries: new QueryTable(rows),
    intentions: new IntentionTable(rows),
    configEntries: new ConfigEntryTable(rows),
    connectCa: new ConnectCaTables(rows),
    autopilot: new AutopilotRow(),
    federationStates: new FederationStateTable(rows),
    rows,
  };
}
