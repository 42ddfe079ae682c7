/**
 * The form of every named call on the wire: what is sent, what comes back (reference/server-rpc.md §4). The tables are
 * complete: a call without a row does not compile.
 */
import { empty, nil, opt, record, type Shape, shapes } from '../../codec/index.ts';
import type { CallName, CallReply, CallRequest, Calls } from '../calls.ts';
import type { ServerCallName, ServerCalls } from '../server-calls.ts';
import type { CARoots, AutoEncryptReply } from '../server-calls.ts';
import type { QueryOptions } from '../query.ts';
import type { EventFireRequest } from '../user-event.ts';
import * as acl from './acl.ts';
import * as catalog from './catalog.ts';
import * as configEntry from './config-entry.ts';
import * as connect from './connect.ts';
import * as gateway from './gateway.ts';
import * as kv from './kv.ts';
import * as operator from './operator.ts';
import * as parts from './parts.ts';
import * as query from './prepared-query.ts';
import * as txn from './txn.ts';

const { bool, bytes, byteString, fullList, fullMap, index, list, nullable, str } = shapes;
const { dcRequest, dcSpecific, nodeSpecific, queryOptions, replyList, rows, serviceSpecific, writeRequest } = parts;
const { readOf, replyOf, writeOf } = acl;

export interface CallShape<Request, Reply> {
  readonly request: Shape<Request>;
  readonly reply: Shape<Reply>;
}

const sessions = replyOf('Sessions', list(kv.session));
const entries = replyOf('Entries', list(kv.dirEntry));
const checks = replyOf('HealthChecks', rows(catalog.healthCheck));
const instances = replyOf('Nodes', rows(catalog.checkServiceNode));
const dump = replyOf('Dump', rows(catalog.nodeInfo));
const coordinates = replyOf('Coordinates', rows(kv.nodeCoordinate));
const intentions = replyOf('Intentions', fullList(connect.intention));
const queries = replyOf('Queries', rows(query.preparedQuery));
const caRoots = record<CARoots>(
  { ActiveRootID: str, TrustDomain: str, Roots: rows(connect.caRoot), ...parts.queryMetaFields },
  parts.metaOnWire,
);
const legacyAcls = replyOf('ACLs', rows(acl.legacyAcl));
const policies = replyOf('Policies', rows(acl.aclPolicy));
const roles = replyOf('Roles', fullList(acl.aclRole));
const eventFire = record<EventFireRequest>({
  Datacenter: str,
  Name: str,
  Payload: connect.someBytes,
  ...parts.queryOptionsFields,
});
type NodeServices = NonNullable<Calls['Catalog.NodeServices']['reply']['NodeServices']>;
type NodeServiceList = Calls['Catalog.NodeServiceList']['reply']['NodeServices'];
type TokenReply = CallReply<'ACL.TokenRead'>;

/** Calls without arguments of their own. */
const noArguments: Shape<QueryOptions> = {
  write: (writer) => writer.mapHeader(0),
  read: (reader) => {
    reader.skip();
    return {};
  },
  zero: {},
};

/** The whole request of the log is sent, of which the configuration counts. */
const configurationSet = record<CallRequest<'ConnectCA.ConfigurationSet'>>(
  { Datacenter: str, Config: connect.unnamedCaConfiguration, Token: parts.writeFields.Token },
  { Op: str, Index: index, Roots: list(connect.caRoot), ProviderState: nullable(connect.caProviderState) },
);

/** Every call of a front door. */
export const callShapes: { readonly [M in CallName]: CallShape<CallRequest<M>, CallReply<M>> } = {
  'Status.Ping': { request: noArguments, reply: empty },
  'Status.Leader': { request: dcSpecific, reply: str },
  'Status.Peers': { request: dcSpecific, reply: replyList(str) },
  'Catalog.Register': { request: catalog.registerRequest, reply: empty },
  'Catalog.Deregister': { request: catalog.deregisterRequest, reply: empty },
  'Catalog.ListDatacenters': { request: queryOptions, reply: replyList(str) },
  'Catalog.ListNodes': { request: dcSpecific, reply: replyOf('Nodes', rows(catalog.node)) },
  'Catalog.ListServices': { request: dcSpecific, reply: replyOf('Services', fullMap(fullList(str))) },
  'Catalog.ServiceNodes': { request: serviceSpecific, reply: replyOf('ServiceNodes', rows(catalog.serviceNode)) },
  'Catalog.NodeServices': {
    request: nodeSpecific,
    reply: replyOf(
      'NodeServices',
      nullable(record<NodeServices>({ Node: catalog.node, Services: fullMap(catalog.nodeService) })),
    ),
  },
  'Catalog.NodeServiceList': {
    request: nodeSpecific,
    reply: replyOf(
      'NodeServices',
      record<NodeServiceList>({ Node: nullable(catalog.node), Services: list(catalog.nodeService) }),
    ),
  },
  'Catalog.GatewayServices': {
    request: serviceSpecific,
    reply: replyOf('Services', rows(gateway.gatewayService)),
  },
  'Health.ChecksInState': { request: parts.checksInState, reply: checks },
  'Health.NodeChecks': { request: nodeSpecific, reply: checks },
  'Health.ServiceChecks': { request: serviceSpecific, reply: checks },
  'Health.ServiceNodes': { request: serviceSpecific, reply: instances },
  'KVS.Apply': { request: kv.kvsRequest, reply: bool },
  'KVS.Get': { request: kv.keyRequest, reply: entries },
  'KVS.List': { request: kv.keyRequest, reply: entries },
  'KVS.ListKeys': { request: kv.keyListRequest, reply: replyOf('Keys', list(byteString)) },
  'Session.Apply': { request: kv.sessionRequest, reply: str },
  'Session.Get': { request: kv.sessionSpecific, reply: sessions },
  'Session.List': { request: kv.sessionSpecific, reply: sessions },
  'Session.NodeSessions': { request: nodeSpecific, reply: sessions },
  'Session.Renew': { request: kv.sessionSpecific, reply: sessions },
  'Coordinate.Update': { request: kv.coordinateUpdate, reply: empty },
  'Coordinate.ListDatacenters': { request: noArguments, reply: replyList(kv.datacenterMap) },
  'Coordinate.ListNodes': { request: dcSpecific, reply: coordinates },
  'Coordinate.Node': { request: nodeSpecific, reply: coordinates },
  'Txn.Apply': { request: txn.txnRequest, reply: txn.txnResponse },
  'Txn.Read': { request: txn.txnReadRequest, reply: txn.txnReadResponse },
  'Internal.NodeInfo': { request: nodeSpecific, reply: dump },
  'Internal.NodeDump': { request: dcSpecific, reply: dump },
  'Internal.ServiceDump': { request: gateway.serviceDumpRequest, reply: instances },
  'Internal.GatewayServiceDump': { request: serviceSpecific, reply: replyOf('Dump', rows(gateway.serviceInfo)) },
  'Internal.EventFire': { request: eventFire, reply: parts.queryMeta },
  'PreparedQuery.Apply': { request: query.preparedQueryRequest, reply: str },
  'PreparedQuery.Get': { request: query.preparedQuerySpecific, reply: queries },
  'PreparedQuery.List': { request: dcSpecific, reply: queries },
  'PreparedQuery.Explain': { request: query.executeRequest, reply: replyOf('Query', query.preparedQuery) },
  'PreparedQuery.Execute': { request: query.executeRequest, reply: query.executeReply },
  'PreparedQuery.ExecuteRemote': { request: query.executeRemoteRequest, reply: query.executeReply },
  'Operator.RaftGetConfiguration': { request: dcSpecific, reply: operator.raftConfiguration },
  'Operator.RaftRemovePeerByAddress': { request: operator.removePeer, reply: empty },
  'Operator.RaftRemovePeerByID': { request: operator.removePeer, reply: empty },
  'Operator.AutopilotGetConfiguration': { request: dcSpecific, reply: operator.autopilotConfig },
  'Operator.AutopilotSetConfiguration': { request: operator.autopilotSetConfig, reply: bool },
  'Operator.ServerHealth': { request: dcSpecific, reply: operator.operatorHealth },
  'ConnectCA.Roots': { request: dcSpecific, reply: caRoots },
  'ConnectCA.ConfigurationGet': { request: dcSpecific, reply: connect.caConfiguration },
  'ConnectCA.ConfigurationSet': { request: configurationSet, reply: nil },
  'ConnectCA.Sign': { request: connect.signRequest, reply: connect.issuedCert },
  'Intention.Apply': { request: connect.intentionRequest, reply: str },
  'Intention.Get': { request: connect.intentionQuery, reply: intentions },
  'Intention.List': { request: dcSpecific, reply: intentions },
  'Intention.Match': {
    request: connect.intentionQuery,
    reply: replyOf('Matches', rows(list(connect.intention))),
  },
  'Intention.Check': {
    request: connect.intentionQuery,
    reply: record<CallReply<'Intention.Check'>>({ Allowed: bool }),
  },
  'DiscoveryChain.Get': { request: connect.chainRequest, reply: replyOf('Chain', connect.discoveryChain) },
  'ConfigEntry.Apply': { request: configEntry.configEntryRequest, reply: bool },
  'ConfigEntry.Delete': { request: configEntry.configEntryRequest, reply: empty },
  'ConfigEntry.Get': { request: configEntry.configEntryQuery, reply: configEntry.configEntryResponse },
  'ConfigEntry.List': { request: configEntry.configEntryQuery, reply: configEntry.indexedConfigEntries },
  'ACL.BootstrapTokens': { request: dcSpecific, reply: acl.aclToken },
  'ACL.TokenRead': {
    request: acl.tokenGetRequest,
    reply: record<TokenReply>(
      {
        Token: nullable(acl.aclToken),
        Redacted: bool,
        SourceDatacenter: opt(str),
        ...parts.queryMetaFields,
      },
      parts.metaOnWire,
    ),
  },
  'ACL.TokenClone': { request: acl.tokenSetRequest, reply: acl.aclToken },
  'ACL.TokenSet': { request: acl.tokenSetRequest, reply: acl.aclToken },
  'ACL.TokenDelete': { request: writeOf('TokenID', str), reply: str },
  'ACL.TokenList': { request: acl.tokenListRequest, reply: replyOf('Tokens', fullList(acl.aclTokenStub)) },
  'ACL.PolicyRead': { request: acl.policyGetRequest, reply: replyOf('Policy', nullable(acl.aclPolicy)) },
  'ACL.PolicySet': { request: writeOf('Policy', acl.aclPolicy), reply: acl.aclPolicy },
  'ACL.PolicyDelete': { request: writeOf('PolicyID', str), reply: str },
  'ACL.PolicyList': { request: dcRequest, reply: replyOf('Policies', fullList(acl.aclPolicyStub)) },
  'ACL.RoleRead': { request: acl.roleGetRequest, reply: replyOf('Role', nullable(acl.aclRole)) },
  'ACL.RoleSet': { request: writeOf('Role', acl.aclRole), reply: acl.aclRole },
  'ACL.RoleDelete': { request: writeOf('RoleID', str), reply: str },
  'ACL.RoleList': { request: readOf('Policy', str), reply: roles },
  'ACL.BindingRuleRead': {
    request: readOf('BindingRuleID', str),
    reply: replyOf('BindingRule', nullable(acl.aclBindingRule)),
  },
  'ACL.BindingRuleSet': { request: writeOf('BindingRule', acl.aclBindingRule), reply: acl.aclBindingRule },
  'ACL.BindingRuleDelete': { request: writeOf('BindingRuleID', str), reply: bool },
  'ACL.BindingRuleList': {
    request: readOf('AuthMethod', str),
    reply: replyOf('BindingRules', fullList(acl.aclBindingRule)),
  },
  'ACL.AuthMethodRead': {
    request: readOf('AuthMethodName', str),
    reply: replyOf('AuthMethod', nullable(acl.aclAuthMethod)),
  },
  'ACL.AuthMethodSet': { request: writeOf('AuthMethod', acl.aclAuthMethod), reply: acl.aclAuthMethod },
  'ACL.AuthMethodDelete': { request: writeOf('AuthMethodName', str), reply: bool },
  'ACL.AuthMethodList': { request: dcRequest, reply: replyOf('AuthMethods', rows(acl.aclAuthMethodStub)) },
  'ACL.Login': { request: acl.loginRequest, reply: acl.aclToken },
  'ACL.Logout': { request: writeRequest, reply: bool },
  'ACL.Authorize': { request: acl.authorizeRequest, reply: acl.authorizeReply },
  'ACL.ReplicationStatus': { request: dcSpecific, reply: acl.aclReplicationStatus },
  'ACL.Apply': { request: acl.legacyAclRequest, reply: str },
  'ACL.Get': { request: readOf('ACL', str), reply: legacyAcls },
  'ACL.List': { request: dcSpecific, reply: legacyAcls },
  'Internal.KeyringOperation': {
    request: operator.keyringRequest,
    reply: replyOf('Responses', rows(operator.keyringResponse)),
  },
  'ConfigEntry.ListAll': { request: dcSpecific, reply: configEntry.indexedGenericConfigEntries },
  'ConfigEntry.ResolveServiceConfig': {
    request: gateway.serviceConfigRequest,
    reply: gateway.serviceConfigResponse,
  },
  'FederationState.Apply': { request: gateway.federationStateRequest, reply: bool },
  'FederationState.Get': {
    request: gateway.federationStateQuery,
    reply: replyOf('State', nullable(gateway.federationState)),
  },
  'FederationState.List': { request: dcSpecific, reply: replyOf('States', rows(gateway.federationState)) },
  'FederationState.ListMeshGateways': {
    request: dcSpecific,
    reply: replyOf('DatacenterNodes', fullMap(rows(catalog.checkServiceNode))),
  },
};

/** Every call without a front door. */
export const serverCallShapes: {
  readonly [M in ServerCallName]: CallShape<ServerCalls[M]['request'], ServerCalls[M]['reply']>;
} = {
  'Status.RaftStats': { request: empty, reply: operator.serverStats },
  'Catalog.ServiceList': { request: dcSpecific, reply: replyOf('Services', rows(gateway.serviceName)) },
  'ConnectCA.SignIntermediate': { request: connect.signRequest, reply: str },
  'ACL.Bootstrap': { request: dcSpecific, reply: acl.legacyAcl },
  'ACL.TokenBatchRead': {
    request: readOf('AccessorIDs', rows(str)),
    reply: record<ServerCalls['ACL.TokenBatchRead']['reply']>(
      { Tokens: rows(acl.aclToken), Redacted: bool, Removed: bool, ...parts.queryMetaFields },
      parts.metaOnWire,
    ),
  },
  'ACL.PolicyBatchRead': { request: readOf('PolicyIDs', rows(str)), reply: policies },
  'ACL.PolicyResolve': { request: readOf('PolicyIDs', rows(str)), reply: policies },
  'ACL.RoleBatchRead': { request: readOf('RoleIDs', rows(str)), reply: roles },
  'ACL.RoleResolve': { request: readOf('RoleIDs', rows(str)), reply: roles },
  'ACL.GetPolicy': { request: acl.legacyPolicyRequest, reply: acl.legacyPolicyResponse },
  'AutoEncrypt.Sign': {
    request: connect.signRequest,
    reply: record<AutoEncryptReply>({
      IssuedCert: connect.issuedCert,
      ConnectCARoots: caRoots,
      ManualCARoots: list(str),
      GossipKey: str,
      VerifyServerHostname: bool,
    }),
  },
  'AutoConfig.InitialConfiguration': { request: bytes, reply: bytes },
};
