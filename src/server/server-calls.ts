/**
 * Calls that only agents and servers make: how this server's log stands, and what agents resolve tokens with
 * (reference/server-rpc.md §4). No front door asks for them, so their rights are looked at here.
 */
import { formatGoDuration } from '../codec/index.ts';
import {
  type ACLGrants,
  type ACLToken,
  anonymousTokenSecret,
  CallError,
  type DCRequest,
  type QueryMeta,
  type ServerCallName,
  type ServerCalls,
  type ServerStats,
} from '../model/index.ts';
import type { AclEndpoint } from './acl/endpoint.ts';
import { legacyOf } from './acl/legacy.ts';
import { permissionDenied, tokenNotFound } from './acl/resolver.ts';
import { managementToken } from './acl/tokens.ts';
import type { AutoEncryptSettings } from './auto-encrypt.ts';
import type { InsecureCallName } from './cluster.ts';
import { type CommandLog, neverHeardNs } from './command-log.ts';
import type { ConnectCa } from './connect-ca.ts';
import { queryMeta, requireDatacenter } from './endpoint.ts';

type ServerHandler<M extends ServerCallName> = (
  request: ServerCalls[M]['request'],
  signal: AbortSignal | undefined,
) => Promise<ServerCalls[M]['reply']>;
export type ServerHandlers<M extends ServerCallName> = { readonly [N in M]: ServerHandler<N> };
export type SecureServerCallName = Exclude<ServerCallName, InsecureCallName>;

const hiddenSecret = '<hidden>';

export function serverCallHandlers(endpoint: AclEndpoint, connectCa: ConnectCa): ServerHandlers<SecureServerCallName> {
  const { store, log, queries, resolver } = endpoint;

  const requireAcl = (): void => {
    if (!resolver.enabled) throw new CallError('ACL support disabled');
  };
  const require = (token: string | undefined, right: 'acl:read' | 'operator:write'): void => {
    if (resolver.resolve(token ?? '')?.maySingle(right) === false) throw permissionDenied();
  };
  /** The token that a call is made with. */
  const callerOf = (secret: string | undefined): ACLToken => {
    requireAcl();
    const token = store.acl.tokenRecord(secret || anonymousTokenSecret);
    if (token === undefined || resolver.isExpired(token)) throw tokenNotFound();
    return token;
  };
  const rolesOf = (token: ACLToken) =>
    (token.Roles ?? []).map(({ ID }) => store.acl.roleRecord(ID)).filter((role) => role !== undefined);
  /** Those of all records of a kind whose ids are asked for. */
  const batchRead = <T extends { readonly ID: string }, R>(
    request: DCRequest,
    ids: readonly string[],
    all: (watch?: string[]) => { readonly index: number; readonly result: readonly T[] },
    reply: (found: readonly T[]) => R,
    signal: AbortSignal | undefined,
  ): Promise<R & QueryMeta> => {
    requireDatacenter(endpoint, request);
    requireAcl();
    require(request.Token, 'acl:read');
    const wanted = new Set(ids);
    return queries.run(
      request,
      (watch) => {
        const { index, result } = all(watch);
        return { ...reply(result.filter(({ ID }) => wanted.has(ID))), ...queryMeta(endpoint, index) };
      },
      signal,
    );
  };

  return {
    // oxlint-disable-next-line require-await -- the type is that of a question to others
    'Status.RaftStats': async () => raftStats(log),
    'Catalog.ServiceList': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const authorizer = resolver.resolve(request.Token ?? '');
          const { index, result } = store.services(watch);
          const names = Object.keys(result).filter((name) => authorizer?.may('service:read', name) !== false);
          return { ...queryMeta(endpoint, index), Services: names.map((Name) => ({ Name })) };
        },
        signal,
      );
    },
    'ConnectCA.SignIntermediate': async (request) => {
      requireDatacenter(endpoint, request);
      require(request.Token, 'operator:write');
      return await connectCa.signIntermediate(request.CSR);
    },
    'ACL.Bootstrap': async (request) => {
      requireDatacenter(endpoint, request);
      requireAcl();
      const done = store.acl.bootstrapIndex;
      if (done !== 0) throw new CallError(`ACL bootstrap no longer allowed (reset index: ${done})`);
      const Token = managementToken(endpoint, endpoint.random.uuid(), 'Bootstrap Token');
      await log.propose({ type: 'ACLBootstrap', request: { Token, ResetIndex: 0 } });
      return legacyOf(store.acl.tokenRecord(Token.SecretID) ?? Token);
    },
    'ACL.TokenBatchRead': (request, signal) => {
      requireDatacenter(endpoint, request);
      requireAcl();
      require(request.Token, 'acl:read');
      const maySeeSecrets = resolver.resolve(request.Token ?? '')?.maySingle('acl:write') !== false;
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.acl.tokens(watch);
          const wanted = new Set(request.AccessorIDs);
          const found = result.filter((token) => wanted.has(token.AccessorID) && !resolver.isExpired(token));
          const Tokens = maySeeSecrets ? found : found.map((token) => ({ ...token, SecretID: hiddenSecret }));
          const Removed = found.length < wanted.size;
          return { ...queryMeta(endpoint, index), Tokens, Redacted: !maySeeSecrets && found.length > 0, Removed };
        },
        signal,
      );
    },
    'ACL.PolicyBatchRead': (request, signal) =>
      batchRead(
        request,
        request.PolicyIDs,
        (watch) => store.acl.policies(watch),
        (Policies) => ({ Policies }),
        signal,
      ),
    // oxlint-disable-next-line require-await -- a refusal must become a rejection, and nothing here waits
    'ACL.PolicyResolve': async (request) => {
      requireDatacenter(endpoint, request);
      const token = callerOf(request.Token);
      const own = new Set([token, ...rolesOf(token)].flatMap((grants: ACLGrants) => idsOf(grants.Policies)));
      const Policies = request.PolicyIDs.filter((id) => own.has(id))
        .map((id) => store.acl.policyRecord(id))
        .filter((policy) => policy !== undefined);
      return { ...queryMeta(endpoint, 0), Policies };
    },
    'ACL.RoleBatchRead': (request, signal) =>
      batchRead(
        request,
        request.RoleIDs,
        (watch) => store.acl.roles(watch),
        (Roles) => ({ Roles }),
        signal,
      ),
    // oxlint-disable-next-line require-await -- a refusal must become a rejection, and nothing here waits
    'ACL.RoleResolve': async (request) => {
      requireDatacenter(endpoint, request);
      const wanted = new Set(request.RoleIDs);
      return {
        ...queryMeta(endpoint, 0),
        Roles: rolesOf(callerOf(request.Token)).filter(({ ID }) => wanted.has(ID)),
      };
    },
    'ACL.GetPolicy': (request) => {
      requireDatacenter(endpoint, request);
      requireAcl();
      return Promise.reject(
        new CallError('policies of the kind before Consul 1.4 are not kept here: upgrade the agent that asks for them'),
      );
    },
  };
}

/** Calls of clients without a certificate. */
export function insecureHandlers(
  datacenter: string,
  connectCa: ConnectCa,
  settings: AutoEncryptSettings | undefined,
): ServerHandlers<InsecureCallName> {
  return {
    'AutoEncrypt.Sign': async (request) => {
      requireDatacenter({ datacenter }, request);
      if (settings === undefined) {
        throw new CallError('AutoEncrypt.AllowTLS must be enabled in order to use this endpoint');
      }
      const { issued, roots } = await connectCa.signAgent(request.CSR);
      return {
        IssuedCert: issued,
        ConnectCARoots: roots,
        ManualCARoots: settings.manualCaRoots,
        GossipKey: settings.gossipKey,
        VerifyServerHostname: settings.verifyServerHostname,
      };
    },
    'AutoConfig.InitialConfiguration': () => Promise.reject(new CallError('Auto Config is disabled')),
  };
}

function idsOf(links: ACLGrants['Policies']): readonly string[] {
  return (links ?? []).map(({ ID }) => ID);
}

/** How this server's log stands. */
export function raftStats({ lastContactNs, lastTerm, lastIndex }: CommandLog): ServerStats {
  const age = lastContactNs === neverHeardNs ? 'never' : formatGoDuration(lastContactNs);
  return { LastContact: lastContactNs === 0 ? '0' : age, LastTerm: lastTerm, LastIndex: lastIndex };
}
