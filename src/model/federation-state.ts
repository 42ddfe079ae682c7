/**
 * Federation states: for every datacenter of a federation its mesh gateways, kept in the primary one so that the others
 * find the way (reference/server-rpc.md §4.13).
 */
import type { CheckServiceNode, RaftIndex } from './catalog.ts';
import type { DCRequest, DCSpecificRequest, QueryMeta, WriteRequest } from './query.ts';

export interface FederationState extends RaftIndex {
  readonly Datacenter: string;
  readonly MeshGateways: readonly CheckServiceNode[] | null;
  /** RFC 3339. */
  readonly UpdatedAt: string;
  /** ModifyIndex in the primary datacenter. */
  readonly PrimaryModifyIndex: number;
}

export interface FederationStateRequest extends WriteRequest {
  readonly Op: 'upsert' | 'delete';
  readonly State: Omit<FederationState, keyof RaftIndex> & Partial<RaftIndex>;
}

export interface FederationStateQuery extends DCRequest {
  /** Who is asked. Sic: `Datacenter` is whose state is asked for, contrary to all other calls. */
  readonly TargetDatacenter: string;
}

export interface FederationStateCalls {
  /** Whether it was written; false for `delete`. */
  'FederationState.Apply': { request: FederationStateRequest; reply: boolean };
  'FederationState.Get': {
    request: FederationStateQuery;
    reply: QueryMeta & { readonly State: FederationState | null };
  };
  'FederationState.List': {
    request: DCSpecificRequest;
    reply: QueryMeta & { readonly States: readonly FederationState[] };
  };
  'FederationState.ListMeshGateways': {
    request: DCSpecificRequest;
    reply: QueryMeta & { readonly DatacenterNodes: Readonly<Record<string, readonly CheckServiceNode[]>> };
  };
}
