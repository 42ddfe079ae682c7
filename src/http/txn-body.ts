/** The body of `/v1/txn`: a list of operations, in the client library's form (reference/http-api.md §9.5). */
import { decodeGoBase64 } from '../codec/index.ts';
import { byteStringFromUtf8 } from '../lib/index.ts';
import {
  emptyCheckDefinition,
  emptyService,
  type HealthCheck,
  type HealthCheckDefinition,
  type Node,
  type NodeService,
  type TxnCheckOp,
  type TxnKVOp,
  type TxnNodeOp,
  type TxnOp,
  type TxnServiceOp,
} from '../model/index.ts';
import {
  bool,
  type Decode,
  DecodeError,
  durationNs,
  ignored,
  int,
  list,
  map,
  string,
  struct,
  uint,
  uint64,
} from './decode.ts';
import { serviceWeights } from './definition-body.ts';

const stringMap = map(string, '');

/** Indexes stay below 2^53; a larger one equals none of them. */
const index = uint;

const base64: Decode<Uint8Array> = (value, field) => {
  const text = string(value, field);
  try {
    return decodeGoBase64(text);
  } catch (error) {
    throw new DecodeError((error as Error).message);
  }
};

interface KvBody {
  readonly Verb: string;
  readonly Key: string;
  readonly Value: Uint8Array;
  readonly Flags: bigint;
  readonly Index: number;
  readonly Session: string;
  readonly Namespace: string;
}
const kvStruct = struct<KvBody>({
  Verb: ['Verb', string],
  Key: ['Key', string],
  Value: ['Value', base64],
  Flags: ['Flags', uint64],
  Index: ['Index', index],
  Session: ['Session', string],
  Namespace: ['Namespace', ignored],
});
const kv: Decode<TxnKVOp> = (value, field) => {
  const given = kvStruct(value, field);
  return {
    Verb: given.Verb ?? '',
    DirEnt: {
      Key: byteStringFromUtf8(given.Key ?? ''),
      Value: given.Value ?? null,
      Flags: given.Flags ?? 0n,
      Session: given.Session ?? '',
      ModifyIndex: given.Index ?? 0,
    },
  };
};

/** Fields of the library's records that servers do not take from here end in CreateIndex, and that is dropped. */
const unused = ['CreateIndex', ignored] as const;

const nodeStruct = struct<Node>({
  ID: ['ID', string],
  Node: ['Node', string],
  Address: ['Address', string],
  Datacenter: ['Datacenter', string],
  TaggedAddresses: ['TaggedAddresses', stringMap],
  Meta: ['Meta', stringMap],
  CreateIndex: unused,
  ModifyIndex: ['ModifyIndex', index],
});
const noNode: TxnNodeOp['Node'] = {
  ID: '',
  Node: '',
  Address: '',
  Datacenter: '',
  TaggedAddresses: null,
  Meta: null,
};
const node: Decode<TxnNodeOp['Node']> = (value, field) => {
  const { CreateIndex: _, ...given } = nodeStruct(value, field);
  return { ...noNode, ...given };
};

const serviceStruct = struct<NodeService>({
  ID: ['ID', string],
  Service: ['Service', string],
  Tags: ['Tags', list(string, '')],
  Meta: ['Meta', stringMap],
  Port: ['Port', int],
  Address: ['Address', string],
  Weights: ['Weights', serviceWeights],
  EnableTagOverride: ['EnableTagOverride', bool],
  ModifyIndex: ['ModifyIndex', index],
  CreateIndex: unused,
  Kind: unused,
  TaggedAddresses: unused,
  ContentHash: unused,
  Proxy: unused,
  Connect: unused,
  Namespace: unused,
});
const service: Decode<TxnServiceOp['Service']> = (value, field) => {
  const { CreateIndex: _, ...given } = serviceStruct(value, field);
  return { ...emptyService, ...given };
};

const definition = struct<HealthCheckDefinition>(
  {
    HTTP: ['HTTP', string],
    Header: ['Header', map(list(string, ''), [])],
    Method: ['Method', string],
    Body: ['Body', string],
    TLSSkipVerify: ['TLSSkipVerify', bool],
    TCP: ['TCP', string],
    Interval: ['Interval', durationNs],
    IntervalDuration: ['Interval', durationNs],
    Timeout: ['Timeout', durationNs],
    TimeoutDuration: ['Timeout', durationNs],
    DeregisterCriticalServiceAfter: ['DeregisterCriticalServiceAfter', durationNs],
    DeregisterCriticalServiceAfterDuration: ['DeregisterCriticalServiceAfter', durationNs],
  },
  { unknown: 'ignored' },
);
const checkStruct = struct<HealthCheck>({
  Node: ['Node', string],
  CheckID: ['CheckID', string],
  Name: ['Name', string],
  Status: ['Status', string],
  Notes: ['Notes', string],
  Output: ['Output', string],
  ServiceID: ['ServiceID', string],
  ServiceName: ['ServiceName', string],
  ServiceTags: ['ServiceTags', list(string, '')],
  Definition: ['Definition', definition],
  ModifyIndex: ['ModifyIndex', index],
  CreateIndex: unused,
  Type: unused,
  Namespace: unused,
});
const noCheck: TxnCheckOp['Check'] = {
  Node: '',
  CheckID: '',
  Name: '',
  Status: '',
  Notes: '',
  Output: '',
  ServiceID: '',
  ServiceName: '',
  ServiceTags: null,
  Type: '',
  Definition: emptyCheckDefinition,
};
const check: Decode<TxnCheckOp['Check']> = (value, field) => {
  const { CreateIndex: _, ...given } = checkStruct(value, field);
  return { ...noCheck, ...given };
};

const nodeOpStruct = struct<TxnNodeOp>({ Verb: ['Verb', string], Node: ['Node', node] });
const serviceOpStruct = struct<TxnServiceOp>({
  Verb: ['Verb', string],
  Node: ['Node', string],
  Service: ['Service', service],
});
const checkOpStruct = struct<TxnCheckOp>({ Verb: ['Verb', string], Check: ['Check', check] });

const opStruct = struct<TxnOp>({
  KV: ['KV', kv],
  Node: ['Node', (value, field) => ({ Verb: '', Node: noNode, ...nodeOpStruct(value, field) })],
  Service: [
    'Service',
    (value, field) => ({ Verb: '', Node: '', Service: emptyService, ...serviceOpStruct(value, field) }),
  ],
  Check: ['Check', (value, field) => ({ Verb: '', Check: noCheck, ...checkOpStruct(value, field) })],
});

/** Of several operations in one the first kind counts, in this order. */
const op: Decode<TxnOp> = (value, field) => {
  const { KV, Node, Service, Check } = opStruct(value, field);
  if (KV) return { KV };
  if (Node) return { Node };
  if (Service) return { Service };
  return Check ? { Check } : {};
};

const opList = list(op, {});

/** The whole body, as the only field of a struct. */
export const txnBody: Decode<{ readonly Ops: readonly TxnOp[] }> = (value, field) => ({ Ops: opList(value, field) });
