/** Transactions on the wire (reference/server-rpc.md §4.8). */
import { converted, opt, record, shapes, type Shape } from '../../codec/index.ts';
import type {
  TxnCheckOp,
  TxnError,
  TxnKVOp,
  TxnNodeOp,
  TxnOp,
  TxnReadRequest,
  TxnReadResponse,
  TxnRequest,
  TxnResponse,
  TxnResult,
  TxnServiceOp,
  TxnSessionOp,
} from '../txn.ts';
import type { DirEntry } from '../kv.ts';
import type { HealthCheck, Node, NodeService } from '../catalog.ts';
import { givenCheck, givenNode, givenService, healthCheck, node, nodeService } from './catalog.ts';
import { intentionRequest } from './connect.ts';
import { dirEntry, givenDirEntry, givenSession } from './kv.ts';
import { metaOnWire, queryMetaFields, queryOptionsFields, writeFields } from './parts.ts';

const { int, list, nullable, str } = shapes;

/** An operation that is nil, which stops the peer, is read as one that says nothing and is refused as such. */
const op: Shape<TxnOp> = record<TxnOp>({
  KV: opt(nullable(record<TxnKVOp>({ Verb: str, DirEnt: givenDirEntry }))),
  Intention: opt(nullable(intentionRequest)),
  Node: opt(nullable(record<TxnNodeOp>({ Verb: str, Node: givenNode }))),
  Service: opt(nullable(record<TxnServiceOp>({ Verb: str, Node: str, Service: givenService }))),
  Check: opt(nullable(record<TxnCheckOp>({ Verb: str, Check: givenCheck }))),
  Session: opt(nullable(record<TxnSessionOp>({ Verb: str, Session: givenSession as Shape<TxnSessionOp['Session']> }))),
});

export const txnRequest = record<TxnRequest>({ Datacenter: str, Ops: list(op), Token: writeFields.Token });
export const txnReadRequest = record<TxnReadRequest>({ Datacenter: str, Ops: list(op), ...queryOptionsFields });

interface WireResult {
  readonly KV?: DirEntry;
  readonly Node?: Node;
  readonly Service?: NodeService;
  readonly Check?: HealthCheck;
}
const result = converted<TxnResult, WireResult>(
  record<WireResult>({
    KV: opt(nullable(dirEntry)),
    Node: opt(nullable(node)),
    Service: opt(nullable(nodeService)),
    Check: opt(nullable(healthCheck)),
  }),
  { to: (one) => one, from: (one) => one as TxnResult },
);
const responseFields = {
  Results: list(result),
  Errors: list(record<TxnError>({ OpIndex: int, What: str })),
};
export const txnResponse = record<TxnResponse>(responseFields);
export const txnReadResponse = record<TxnReadResponse>({ ...responseFields, ...queryMetaFields }, metaOnWire);
