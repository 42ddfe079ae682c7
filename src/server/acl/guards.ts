/**
 * What each named call takes, and what of its reply the caller may see: one entry a call (reference/http-api.md §10, reference/server-rpc.md §3.6).
 */
import { type ByteString } from '../../lib/index.ts';
import {
  type CallName,
  CallError,
  type CallReply,
  type CallRequest,
  type ConfigEntryBody,
  type DeregisterRequest,
  type HealthCheck,
  isConfigEntryKind,
  type PreparedQuery,
  type RegisterRequest,
  type TxnOp,
  type Unindexed,
} from '../../model/index.ts';
import type { StateStore } from '../../state/index.ts';
import { isUuid } from '../../state/index.ts';
import { readRequest } from '../connect-ca.ts';
import type { Authorizer } from './authorizer.ts';
import { type AclResolver, permissionDenied } from './resolver.ts';
import {
  queryName,
  seesCheck,
  seesConfigEntry,
  seesEntry,
  seesInstance,
  seesIntention,
  seesNode,
  seesQuery,
  seesService,
  seesServiceNode,
  seesSession,
  seesTxnResult,
  visibleDump,
  visibleEntries,
  withoutToken,
} from './visible.ts';

/** What a guard decides with. */
export interface Caller {
  /** The caller's rights. */
  readonly authorizer: Authorizer;
  readonly store: StateStore;
  readonly resolver: AclResolver;
}

export interface Guard<M extends CallName> {
  /** Calls that are open to all, so that their token need not be good either. */
  readonly isOpen?: (request: CallRequest<M>) => boolean;
  /** Whether the call may be made; refused with `Permission denied`. @throws CallError with another text. */
  readonly allows?: (caller: Caller, request: CallRequest<M>) => boolean;
  /** A reply in place of the call's. */
  readonly instead?: (caller: Caller, request: CallRequest<M>) => CallReply<M> | undefined;
  /** The request as it is to be answered before the reply is narrowed. */
  readonly rewrite?: (request: CallRequest<M>) => CallRequest<M>;
  /** The reply without what the caller may not see. */
  readonly narrow?: (caller: Caller, reply: CallReply<M>, request: CallRequest<M>) => CallReply<M>;
}

/** Every call has an entry: one that is forgotten does not compile. */
export type Guards = { readonly [M in CallName]: Guard<M> };

/** Everybody may, or the handler looks at the token itself. */
const open = {};

const aclRead = { allows: ({ authorizer }: Caller): boolean => authorizer.maySingle('acl:read') };
const aclWrite = { allows: ({ authorizer }: Caller): boolean => authorizer.maySingle('acl:write') };

const operatorRead = { allows: ({ authorizer }: Caller): boolean => authorizer.maySingle('operator:read') };
const operatorWrite = { allows: ({ authorizer }: Caller): boolean => authorizer.maySingle('operator:write') };

const narrowChecks = <R extends { readonly HealthChecks: readonly HealthCheck[] }>(
  { authorizer }: Caller,
  reply: R,
): R => ({
  ...reply,
  HealthChecks: authorizer.keep(reply.HealthChecks, seesCheck(authorizer)),
});

const narrowSessions = <R extends { readonly Sessions: readonly { readonly Node: string }[] | null }>(
  { authorizer }: Caller,
  reply: R,
): R => ({
  ...reply,
  Sessions: reply.Sessions === null ? null : authorizer.keep(reply.Sessions, seesSession(authorizer)),
});

export const guards: Guards = {
  'Status.Ping': open,
  'Status.Leader': open,
  'Status.Peers': open,
  'Catalog.ListDatacenters': open,
  'Catalog.Register': { allows: mayRegister },
  'Catalog.Deregister': { allows: mayDeregister },
  'Catalog.ListNodes': {
    narrow: ({ authorizer }, reply) => ({ ...reply, Nodes: authorizer.keep(reply.Nodes, seesNode(authorizer)) }),
  },
  'Catalog.ListServices': {
    narrow: ({ authorizer }, reply) => ({
      ...reply,
      Services: visibleEntries(reply.Services, (_, name) => authorizer.may('service:read', name)),
    }),
  },
  'Catalog.ServiceNodes': {
    instead: ({ authorizer }, request) => {
      if (request.Connect !== true || authorizer.may('service:read', request.ServiceName)) return undefined;
      return { Index: 0, LastContact: 0, KnownLeader: true, ServiceNodes: [] };
    },
    narrow: ({ authorizer }, reply) => ({
      ...reply,
      ServiceNodes: authorizer.keep(reply.ServiceNodes, seesServiceNode(authorizer)),
    }),
  },
  'Catalog.NodeServices': {
    narrow: ({ authorizer }, reply) => {
      const { NodeServices } = reply;
      if (NodeServices === null) return reply;
      if (!authorizer.may('node:read', NodeServices.Node.Node)) return { ...reply, NodeServices: null };
      const Services = visibleEntries(NodeServices.Services, seesService(authorizer));
      return { ...reply, NodeServices: { ...NodeServices, Services } };
    },
  },
  'Catalog.NodeServiceList': {
    narrow: ({ authorizer }, reply) => {
      const { Node, Services } = reply.NodeServices;
      if (Node === null || Services === null) return reply;
      if (!authorizer.may('node:read', Node.Node)) return { ...reply, NodeServices: { Node: null, Services: null } };
      return { ...reply, NodeServices: { Node, Services: authorizer.keep(Services, seesService(authorizer)) } };
    },
  },
  'Health.ChecksInState': { narrow: narrowChecks },
  'Health.NodeChecks': { narrow: narrowChecks },
  'Health.ServiceChecks': { narrow: narrowChecks },
  'Health.ServiceNodes': {
    instead: ({ authorizer }, { Connect, Ingress, ServiceName }) => {
      if ((Connect !== true && Ingress !== true) || authorizer.may('service:read', ServiceName)) return undefined;
      return { Index: 0, LastContact: 0, KnownLeader: true, Nodes: [] };
    },
    narrow: ({ authorizer }, reply) => ({ ...reply, Nodes: authorizer.keep(reply.Nodes, seesInstance(authorizer)) }),
  },
  'KVS.Apply': { allows: ({ authorizer }, { Op, DirEnt }) => mayWriteKey(authorizer, Op, DirEnt.Key) },
  'KVS.Get': { allows: ({ authorizer }, { Key }) => authorizer.may('key:read', Key) },
  'KVS.List': {
    allows: (caller, { Key }) => mayListKeys(caller, Key),
    narrow: ({ authorizer }, reply) => {
      const kept = reply.Entries?.filter(seesEntry(authorizer)) ?? [];
      return { ...reply, Entries: kept.length === 0 ? null : kept };
    },
  },
  'KVS.ListKeys': {
    allows: (caller, { Prefix }) => mayListKeys(caller, Prefix),
    // What may be seen is decided key by key, so the keys are cut afterwards.
    rewrite: (request) => ({ ...request, Seperator: '' }),
    narrow: ({ authorizer }, reply, { Prefix, Seperator }) => {
      const kept = reply.Keys?.filter((key) => authorizer.may('key:read', key)) ?? [];
      return { ...reply, Keys: cutKeys(kept, Prefix, Seperator ?? '') };
    },
  },
  'Session.Apply': {
    allows: ({ authorizer, store }, { Op, Session }) => {
      if (Op === 'create') return authorizer.may('session:write', Session.Node ?? '');
      const found = Session.ID ? store.session(Session.ID).result : null;
      // There is nothing to keep from anybody.
      return found === null || authorizer.may('session:write', found[0].Node);
    },
  },
  'Session.Get': { narrow: narrowSessions },
  'Session.List': { narrow: narrowSessions },
  'Session.NodeSessions': { narrow: narrowSessions },
  'Session.Renew': {
    allows: ({ authorizer, store }, request) => {
      const id = request.SessionID || request.Session || '';
      const found = id === '' ? null : store.session(id).result;
      return found === null || authorizer.may('session:write', found[0].Node);
    },
  },
  'Txn.Apply': {
    instead: (caller, { Ops }) => {
      const Errors = txnErrors(caller, Ops ?? []);
      return Errors.length === 0 ? undefined : { Results: null, Errors };
    },
    narrow: narrowTxn,
  },
  'Txn.Read': {
    instead: (caller, { Ops }) => {
      const Errors = txnErrors(caller, Ops ?? []);
      return Errors.length === 0 ? undefined : { Results: null, Errors, Index: 0, LastContact: 0, KnownLeader: true };
    },
    narrow: narrowTxn,
  },
  'Coordinate.Update': { allows: ({ authorizer }, { Node }) => authorizer.may('node:write', Node) },
  'Coordinate.ListDatacenters': open,
  'Coordinate.ListNodes': {
    narrow: ({ authorizer }, reply) => ({
      ...reply,
      Coordinates: authorizer.keep(reply.Coordinates, seesNode(authorizer)),
    }),
  },
  'Coordinate.Node': { allows: ({ authorizer }, { Node }) => authorizer.may('node:read', Node) },
  'PreparedQuery.Apply': {
    allows: ({ authorizer, store }, { Op, Query }) => {
      const mayWrite = (query: PreparedQuery): boolean => {
        const name = queryName(query);
        return name === null || authorizer.may('query:write', name);
      };
      const before = Op === 'create' || !isUuid(Query.ID) ? undefined : store.queries.get(Query.ID).result;
      return (Op === 'delete' || mayWrite(Query)) && (before === undefined || mayWrite(before));
    },
  },
  'PreparedQuery.Get': {
    narrow: ({ authorizer }, reply) => {
      const Queries = reply.Queries.filter((query) => queryName(query) === null || seesQuery(authorizer)(query));
      if (Queries.length === 0) throw permissionDenied();
      return { ...reply, Queries: Queries.map((query) => withoutToken(authorizer, query)) };
    },
  },
  'PreparedQuery.List': {
    narrow: ({ authorizer }, reply) => {
      const kept = authorizer.keep(reply.Queries, seesQuery(authorizer));
      const shown = kept.map((query) => withoutToken(authorizer, query));
      return { ...reply, Queries: shown.every((query, i) => query === kept[i]) ? kept : shown };
    },
  },
  'PreparedQuery.Explain': {
    narrow: ({ authorizer }, reply) => {
      if (!seesQuery(authorizer)(reply.Query)) throw permissionDenied();
      return { ...reply, Query: withoutToken(authorizer, reply.Query) };
    },
  },
  'PreparedQuery.Execute': {
    narrow: ({ authorizer, resolver, store }, reply, { QueryIDOrName, Agent }) => {
      // A query with a token of its own sees with that token's eyes.
      const token = store.queries.resolve(QueryIDOrName, Agent.Segment ?? '')?.Token ?? '';
      const eyes = token === '' ? authorizer : (resolver.resolve(token) ?? authorizer);
      return { ...reply, Nodes: reply.Nodes.filter(seesInstance(eyes)) };
    },
  },
  'PreparedQuery.ExecuteRemote': {
    narrow: ({ authorizer, resolver }, reply, { Query }) => {
      const eyes = Query.Token === '' ? authorizer : (resolver.resolve(Query.Token) ?? authorizer);
      return { ...reply, Nodes: reply.Nodes.filter(seesInstance(eyes)) };
    },
  },
  'Intention.Apply': {
    allows: ({ authorizer, store }, { Op, Intention }) => {
      const before =
        Op === 'create' || !isUuid(Intention.ID ?? '') ? undefined : store.intentions.get(Intention.ID!).result;
      return (
        (Op === 'delete' || authorizer.may('intention:write', Intention.DestinationName ?? '')) &&
        (before === undefined || authorizer.may('intention:write', before.DestinationName))
      );
    },
  },
  'Intention.Get': {
    narrow: ({ authorizer }, reply) => {
      const Intentions = reply.Intentions.filter(seesIntention(authorizer));
      if (reply.Intentions.length > 0 && Intentions.length === 0) throw permissionDenied();
      return { ...reply, Intentions };
    },
  },
  'Intention.List': {
    narrow: ({ authorizer }, reply) => ({
      ...reply,
      Intentions: authorizer.keep(reply.Intentions, seesIntention(authorizer)),
    }),
  },
  'Intention.Match': {
    allows: ({ authorizer }, { Match }) =>
      (Match?.Entries ?? []).every(({ Name }) => authorizer.may('intention:read', Name)),
  },
  'Intention.Check': {
    allows: ({ authorizer }, { Check }) => !Check || authorizer.may('service:read', Check.DestinationName),
  },
  'ConfigEntry.Apply': { allows: ({ authorizer }, { Entry }) => mayWriteConfigEntry(authorizer, Entry) },
  'ConfigEntry.Delete': { allows: ({ authorizer }, { Entry }) => mayWriteConfigEntry(authorizer, Entry) },
  'ConfigEntry.Get': {
    allows: ({ authorizer }, { Kind, Name = '' }) =>
      Kind === 'proxy-defaults' || !isConfigEntryKind(Kind) || authorizer.may('service:read', Name),
  },
  'ConfigEntry.List': {
    narrow: ({ authorizer }, reply) => ({
      ...reply,
      Entries: authorizer.keep(reply.Entries, seesConfigEntry(authorizer)),
    }),
  },
  'ConfigEntry.ListAll': {
    narrow: ({ authorizer }, reply) => ({
      ...reply,
      Entries: authorizer.keep(reply.Entries, seesConfigEntry(authorizer)),
    }),
  },
  'ConfigEntry.ResolveServiceConfig': { allows: ({ authorizer }, { Name }) => authorizer.may('service:read', Name) },
  'FederationState.Apply': operatorWrite,
  'FederationState.Get': operatorRead,
  'FederationState.List': operatorRead,
  'FederationState.ListMeshGateways': {
    narrow: ({ authorizer }, reply) => ({
      ...reply,
      DatacenterNodes: Object.fromEntries(
        Object.entries(reply.DatacenterNodes).flatMap(([datacenter, all]) => {
          const seen = authorizer.keep(all, seesInstance(authorizer));
          return seen.length === 0 ? [] : [[datacenter, seen]];
        }),
      ),
    }),
  },
  'Internal.KeyringOperation': {
    allows: ({ authorizer }, { Operation }) => {
      if (Operation !== 'list' && !authorizer.maySingle('keyring:write')) {
        throw new CallError('Modifying keyring denied due to ACLs');
      }
      if (!authorizer.maySingle('keyring:read')) throw new CallError('Reading keyring denied by ACLs');
      return true;
    },
  },
  'Catalog.GatewayServices': {
    allows: ({ authorizer }, { ServiceName }) => authorizer.may('service:read', ServiceName),
    narrow: ({ authorizer }, reply) => ({
      ...reply,
      Services: authorizer.keep(reply.Services, ({ Service }) => authorizer.may('service:read', Service.Name)),
    }),
  },
  'Internal.ServiceDump': {
    narrow: ({ authorizer }, reply) => ({ ...reply, Nodes: authorizer.keep(reply.Nodes, seesInstance(authorizer)) }),
  },
  'Internal.GatewayServiceDump': {
    allows: ({ authorizer }, { ServiceName }) => authorizer.may('service:read', ServiceName),
    narrow: ({ authorizer }, reply) => ({
      ...reply,
      Dump: reply.Dump.filter(
        ({ Node, Service, GatewayService }) =>
          (Node === undefined || authorizer.may('node:read', Node.Node)) &&
          (Service === undefined || authorizer.may('service:read', Service.Service)) &&
          (GatewayService === undefined || authorizer.may('service:read', GatewayService.Service.Name)),
      ),
    }),
  },
  'Operator.RaftGetConfiguration': operatorRead,
  'Operator.RaftRemovePeerByAddress': operatorWrite,
  'Operator.RaftRemovePeerByID': operatorWrite,
  'Operator.AutopilotGetConfiguration': operatorRead,
  'Operator.AutopilotSetConfiguration': operatorWrite,
  'Operator.ServerHealth': operatorRead,
  'ConnectCA.Roots': open,
  'ConnectCA.ConfigurationGet': operatorRead,
  'ConnectCA.ConfigurationSet': operatorWrite,
  'ConnectCA.Sign': {
    allows: ({ authorizer }, { CSR }) => {
      const { id } = readRequest(CSR);
      return id.kind === 'service'
        ? authorizer.may('service:write', id.service)
        : authorizer.may('node:write', id.agent);
    },
  },
  'DiscoveryChain.Get': { allows: ({ authorizer }, { Name }) => authorizer.may('service:read', Name) },
  'Internal.NodeInfo': {
    narrow: ({ authorizer }, reply) => ({ ...reply, Dump: visibleDump(authorizer, reply.Dump) }),
  },
  'Internal.NodeDump': {
    narrow: ({ authorizer }, reply) => ({ ...reply, Dump: visibleDump(authorizer, reply.Dump) }),
  },
  'Internal.EventFire': { allows: ({ authorizer }, { Name }) => authorizer.may('event:write', Name) },
  'ACL.BootstrapTokens': open,
  'ACL.TokenRead': {
    // Who knows a secret needs no other right to read what it stands for.
    isOpen: ({ TokenIDType }) => TokenIDType === 'secret',
    ...aclRead,
    narrow: ({ authorizer }, reply) =>
      reply.Token === null || authorizer.maySingle('acl:write')
        ? reply
        : { ...reply, Token: { ...reply.Token, SecretID: '<hidden>' }, Redacted: true },
  },
  'ACL.TokenClone': aclWrite,
  'ACL.TokenSet': aclWrite,
  'ACL.TokenDelete': aclWrite,
  'ACL.TokenList': aclRead,
  'ACL.PolicyRead': aclRead,
  'ACL.PolicySet': aclWrite,
  'ACL.PolicyDelete': aclWrite,
  'ACL.PolicyList': aclRead,
  'ACL.RoleRead': aclRead,
  'ACL.RoleSet': aclWrite,
  'ACL.RoleDelete': aclWrite,
  'ACL.RoleList': aclRead,
  'ACL.BindingRuleRead': aclRead,
  'ACL.BindingRuleSet': aclWrite,
  'ACL.BindingRuleDelete': aclWrite,
  'ACL.BindingRuleList': aclRead,
  'ACL.AuthMethodRead': aclRead,
  'ACL.AuthMethodSet': aclWrite,
  'ACL.AuthMethodDelete': aclWrite,
  'ACL.AuthMethodList': aclRead,
  'ACL.Login': open,
  'ACL.Logout': open,
  'ACL.Authorize': open,
  'ACL.ReplicationStatus': open,
  'ACL.Apply': aclWrite,
  'ACL.Get': open,
  'ACL.List': aclWrite,
};

/** Calls that need no valid token at all: guarded by nothing, and unknown tokens do not matter. */
export const openCalls: ReadonlySet<CallName> = new Set(
  (Object.keys(guards) as CallName[]).filter((name) => guards[name] === open),
);

function mayWriteKey(authorizer: Authorizer, op: string, key: ByteString): boolean {
  return op === 'delete-tree' ? authorizer.mayWriteKeysUnder(key) : authorizer.may('key:write', key);
}

function mayListKeys({ authorizer, resolver }: Caller, prefix: ByteString): boolean {
  return !resolver.settings.keyListPolicy || authorizer.may('key:list', prefix);
}

function cutKeys(keys: readonly ByteString[], prefix: ByteString, separator: ByteString): readonly ByteString[] {
  if (separator === '') return keys;
  const names: ByteString[] = [];
  for (const key of keys) {
    const at = key.indexOf(separator, prefix.length);
    const name = at < 0 ? key : key.slice(0, at + separator.length);
    if (names.at(-1) !== name) names.push(name);
  }
  return names;
}

/** A service may be registered again with what the node is already, without rights over the node. */
function mayRegister({ authorizer, store }: Caller, request: RegisterRequest): boolean {
  const node = store.node(request.Node);
  if (node === undefined || changesNode(node, request)) {
    if (!authorizer.may('node:write', request.Node)) return false;
  }
  const { Service } = request;
  if (Service) {
    if (!authorizer.may('service:write', Service.Service)) return false;
    const replaced = store.nodeService(request.Node, Service.ID || Service.Service);
    if (replaced !== undefined && !authorizer.may('service:write', replaced.Service)) return false;
  }
  const checks = [...(request.Check ? [request.Check] : []), ...(request.Checks ?? [])];
  return checks.every((check) => mayRegisterCheck({ authorizer, store }, request, check));
}

function mayRegisterCheck(
  { authorizer, store }: Pick<Caller, 'authorizer' | 'store'>,
  request: RegisterRequest,
  check: Unindexed<HealthCheck>,
): boolean {
  if (check.Node && check.Node !== request.Node) {
    throw new CallError(
      `Node '${check.Node}' for check '${check.CheckID}' doesn't match register request node '${request.Node}'`,
    );
  }
  if (!check.ServiceID) return authorizer.may('node:write', request.Node);
  const own = request.Service;
  if (own && (own.ID || own.Service) === check.ServiceID) return true;
  const service = store.nodeService(request.Node, check.ServiceID);
  if (service === undefined) throw new CallError(`Unknown service '${check.ServiceID}' for check '${check.CheckID}'`);
  return authorizer.may('service:write', service.Service);
}

function changesNode(node: NonNullable<ReturnType<StateStore['node']>>, request: RegisterRequest): boolean {
  if (request.SkipNodeUpdate === true) return false;
  const same = (
    a: Readonly<Record<string, string>> | null,
    b: Readonly<Record<string, string>> | null | undefined,
  ): boolean => {
    const left = Object.entries(a ?? {});
    const right = b ?? {};
    return left.length === Object.keys(right).length && left.every(([name, value]) => right[name] === value);
  };
  return (
    node.ID !== (request.ID ?? '') ||
    node.Node !== request.Node ||
    node.Address !== request.Address ||
    node.Datacenter !== request.Datacenter ||
    !same(node.TaggedAddresses, request.TaggedAddresses) ||
    !same(node.Meta, request.NodeMeta)
  );
}

/** Who may write the node may take anything off it, also where the rights over a service have gone. */
function mayDeregister({ authorizer, store }: Caller, request: DeregisterRequest): boolean {
  if (authorizer.may('node:write', request.Node)) return true;
  if (request.ServiceID) {
    const service = store.nodeService(request.Node, request.ServiceID);
    if (service === undefined) throw new CallError(`Unknown service '${request.ServiceID}'`);
    return authorizer.may('service:write', service.Service);
  }
  if (!request.CheckID) return false;
  const check = store.nodeCheck(request.Node, request.CheckID);
  if (check === undefined) throw new CallError(`Unknown check '${request.CheckID}'`);
  return check.ServiceID !== '' && authorizer.may('service:write', check.ServiceName);
}

function mayWriteConfigEntry(authorizer: Authorizer, entry: ConfigEntryBody): boolean {
  switch (entry.Kind) {
    case 'proxy-defaults':
    case 'ingress-gateway':
    case 'terminating-gateway':
      return authorizer.maySingle('operator:write');
    default:
      return authorizer.may('service:write', entry.Name);
  }
}

function txnErrors(
  caller: Caller,
  ops: readonly TxnOp[],
): readonly { readonly OpIndex: number; readonly What: string }[] {
  return ops.flatMap((op, OpIndex) => (mayTxnOp(caller, op) ? [] : [{ OpIndex, What: permissionDenied().message }]));
}

/** Reads are narrowed afterwards. */
function mayTxnOp({ authorizer, store }: Caller, op: TxnOp): boolean {
  if (op.KV) {
    const { Verb, DirEnt } = op.KV;
    if (Verb === 'get' || Verb === 'get-tree') return true;
    if (Verb === 'check-session' || Verb === 'check-index') return authorizer.may('key:read', DirEnt.Key);
    return mayWriteKey(authorizer, Verb, DirEnt.Key);
  }
  if (op.Node) return op.Node.Verb === 'get' || authorizer.may('node:write', op.Node.Node.Node);
  if (op.Service) {
    const { Verb, Node, Service } = op.Service;
    if (Verb === 'get') return true;
    const replaced = store.nodeService(Node, Service.ID || Service.Service);
    return (
      authorizer.may('service:write', Service.Service || (replaced?.Service ?? '')) &&
      (replaced === undefined || authorizer.may('service:write', replaced.Service))
    );
  }
  if (op.Check) {
    const { Verb, Check } = op.Check;
    if (Verb === 'get') return true;
    const before = store.nodeCheck(Check.Node, Check.CheckID);
    const service = Check.ServiceID ? store.nodeService(Check.Node, Check.ServiceID)?.Service : before?.ServiceName;
    return service ? authorizer.may('service:write', service) : authorizer.may('node:write', Check.Node);
  }
  if (op.Session) {
    const found = op.Session.Session.ID ? store.session(op.Session.Session.ID).result : null;
    return authorizer.may('session:write', found?.[0].Node ?? op.Session.Session.Node ?? '');
  }
  return true;
}

function narrowTxn<R extends CallReply<'Txn.Apply'>>({ authorizer }: Caller, reply: R): R {
  if (reply.Results === null) return reply;
  return { ...reply, Results: reply.Results.filter(seesTxnResult(authorizer)) };
}
