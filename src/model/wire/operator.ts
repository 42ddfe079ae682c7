/** What operators and servers ask about servers, on the wire (reference/server-rpc.md §4.2, §4.9, §4.11). */
import { converted, goZeroTime, opt, record, shapes, text } from '../../codec/index.ts';
import { memberStatus } from '../member.ts';
import type {
  AutopilotConfig,
  AutopilotSetConfigRequest,
  OperatorHealth,
  RaftRemovePeerRequest,
  RaftServer,
  ServerHealth,
} from '../operator.ts';
import type { KeyringRequest, KeyringResponse, ServerStats } from '../server-calls.ts';
import { queryOptionsFields, raftIndexFields, writeFields } from './parts.ts';

const { bool, durationNs, fullList, index, int, localTime, map, str } = shapes;

export const serverStats = record<ServerStats>({ LastContact: str, LastTerm: index, LastIndex: index });

export const autopilotConfig = record<AutopilotConfig>({
  CleanupDeadServers: bool,
  LastContactThreshold: durationNs,
  MaxTrailingLogs: index,
  MinQuorum: index,
  ServerStabilizationTime: durationNs,
  RedundancyZoneTag: str,
  DisableUpgradeMigration: bool,
  UpgradeVersionTag: str,
  ...raftIndexFields,
});
export const autopilotSetConfig = record<AutopilotSetConfigRequest>({
  Datacenter: str,
  Config: autopilotConfig,
  CAS: bool,
  Token: writeFields.Token,
});

const raftServer = record<RaftServer>({
  ID: str,
  Node: str,
  Address: str,
  Leader: bool,
  ProtocolVersion: str,
  Voter: bool,
});
export const raftConfiguration = record<{ readonly Servers: readonly RaftServer[]; readonly Index: number }>({
  Servers: fullList(raftServer),
  Index: index,
});
export const removePeer = record<RaftRemovePeerRequest>({
  Datacenter: str,
  Address: opt(str),
  ID: opt(str),
  Token: writeFields.Token,
});

const statusNames = Object.keys(memberStatus) as readonly (keyof typeof memberStatus)[];
const serfStatus = converted<ServerHealth['SerfStatus'], number>(int, {
  to: (name) => memberStatus[name],
  from: (number) => statusNames.find((name) => memberStatus[name] === number) ?? 'none',
});
/** ms since 1970; what the wire has of ns beyond is cut off. */
const wallMs = converted<number, string>(localTime, {
  to: (ms) => (ms === zeroTimeMs ? goZeroTime : new Date(ms).toISOString()),
  from: (text) => Date.parse(text),
});
const zeroTimeMs = Date.parse(goZeroTime);
export const operatorHealth = record<OperatorHealth>({
  Healthy: bool,
  FailureTolerance: int,
  Servers: fullList(
    record<ServerHealth>({
      ID: str,
      Name: str,
      Address: str,
      SerfStatus: serfStatus,
      Version: str,
      Leader: bool,
      LastContact: durationNs,
      LastTerm: index,
      LastIndex: index,
      Healthy: bool,
      Voter: bool,
      StableSince: wallMs,
    }),
  ),
});

export const keyringRequest = record<KeyringRequest>({
  Operation: text<KeyringRequest['Operation']>(),
  Key: str,
  Datacenter: str,
  Forwarded: bool,
  RelayFactor: index,
  LocalOnly: bool,
  ...queryOptionsFields,
});
export const keyringResponse = record<KeyringResponse>({
  WAN: bool,
  Datacenter: str,
  Segment: str,
  Messages: map(str),
  Keys: map(int),
  PrimaryKeys: map(int),
  NumNodes: int,
  Error: str,
});
