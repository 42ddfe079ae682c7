/** `ACL.Token*` and the bootstrap (reference/server-rpc.md §4.15). */
import { formatGoDuration } from '../../codec/index.ts';
import {
  type ACLToken,
  type ACLTokenListStub,
  anonymousTokenAccessor,
  CallError,
  emptyToken,
  globalManagementPolicyId,
  reservedIdPrefix,
} from '../../model/index.ts';
import { aclTokenHash, isLegacyToken, isUuid } from '../../state/index.ts';
import { type Handlers, queryMeta, requireDatacenter } from '../endpoint.ts';
import type { AclEndpoint } from './endpoint.ts';
import { requireIdentities, resolvedLinks } from './names.ts';
import { tokenNotFound } from './resolver.ts';

const nsPerMs = 1_000_000;
/** How long a token that expires must and may live, ns. */
export const tokenTtlNsMin = 60e9;
export const tokenTtlNsMax = 24 * 3600e9;

type TokenCall =
  | 'ACL.BootstrapTokens'
  | 'ACL.TokenRead'
  | 'ACL.TokenClone'
  | 'ACL.TokenSet'
  | 'ACL.TokenDelete'
  | 'ACL.TokenList';

/**
 * Who has lost all management tokens writes the index that the refused bootstrap named into this file of the leader's
 * data directory: that takes access to the machine.
 */
const bootstrapResetFile = 'acl-bootstrap-reset';

/** The index in the file; 0 when there is none. */
async function resetIndex({ files, logger }: AclEndpoint): Promise<number> {
  try {
    const text = await files?.read(bootstrapResetFile);
    if (text === undefined) return 0;
    const index = /^\s*(\d{1,15})/.exec(text)?.[1];
    if (index !== undefined) return Number(index);
    logger.error('bootstrap: the reset file does not begin with a number', { file: bootstrapResetFile });
  } catch (error) {
    logger.error('bootstrap: failed to read the reset file', { file: bootstrapResetFile, error });
  }
  return 0;
}

export function tokenHandlers(endpoint: AclEndpoint): Handlers<TokenCall> {
  const { store, log, queries, resolver } = endpoint;
  const visible = (token: ACLToken | null): ACLToken | null =>
    token === null || resolver.isExpired(token) ? null : token;
  return {
    'ACL.BootstrapTokens': async (request) => {
      requireDatacenter(endpoint, request);
      const done = store.acl.bootstrapIndex;
      const ResetIndex = done === 0 ? 0 : await resetIndex(endpoint);
      if (done !== 0 && ResetIndex === 0) {
        throw new CallError(`ACL bootstrap no longer allowed (reset index: ${done})`);
      }
      if (ResetIndex !== done) {
        throw new CallError(`Invalid bootstrap reset index (specified ${ResetIndex}, reset index: ${done})`);
      }
      // It is good for once, whatever comes of it.
      await endpoint.files?.remove(bootstrapResetFile);
      const token = managementToken(endpoint, endpoint.random.uuid(), 'Bootstrap Token (Global Management)');
      await log.propose({ type: 'ACLBootstrap', request: { Token: token, ResetIndex } });
      return stored(endpoint, token.AccessorID);
    },
    'ACL.TokenRead': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } =
            request.TokenIDType === 'accessor'
              ? store.acl.tokenByAccessor(request.TokenID, watch)
              : store.acl.tokenBySecret(request.TokenID, watch);
          return { ...queryMeta(endpoint, index), Token: visible(result), Redacted: false };
        },
        signal,
      );
    },
    'ACL.TokenClone': async (request) => {
      requireDatacenter(endpoint, request);
      const { AccessorID, Description } = request.ACLToken;
      const token = visible(store.acl.tokenByAccessor(AccessorID).result);
      if (token === null) throw tokenNotFound();
      if (token.AuthMethod !== '') throw new CallError('Cannot clone a token created from an auth method');
      if (token.Rules !== '') throw new CallError('Cannot clone a legacy ACL with this endpoint');
      return await setToken(endpoint, {
        create: true,
        token: {
          ...emptyToken,
          Policies: token.Policies,
          Roles: token.Roles,
          ServiceIdentities: token.ServiceIdentities,
          NodeIdentities: token.NodeIdentities,
          Local: token.Local,
          Description: Description || token.Description,
          ExpirationTime: token.ExpirationTime,
        },
      });
    },
    'ACL.TokenSet': async (request) => {
      requireDatacenter(endpoint, request);
      return await setToken(endpoint, { create: request.Create, token: request.ACLToken });
    },
    'ACL.TokenDelete': async (request) => {
      requireDatacenter(endpoint, request);
      const { TokenID } = request;
      if (!isUuid(TokenID)) throw new CallError('Accessor ID is missing or an invalid UUID');
      if (TokenID === anonymousTokenAccessor) {
        throw new CallError('Delete operation not permitted on the anonymous token');
      }
      const token = store.acl.tokenByAccessor(TokenID).result;
      if (token === null) return '';
      if (token.SecretID === request.Token) {
        throw new CallError("Deletion of the request's authorization token is not permitted");
      }
      await log.propose({ type: 'ACLTokenDelete', request: { TokenIDs: [TokenID] } });
      return TokenID;
    },
    'ACL.TokenList': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.acl.tokens(watch);
          const { Policy, Role, AuthMethod, IncludeLocal, IncludeGlobal } = request;
          const Tokens = result.filter(
            (token) =>
              (token.Local ? IncludeLocal : IncludeGlobal) &&
              (Policy === '' || token.Policies?.some(({ ID }) => ID === Policy)) &&
              (Role === '' || token.Roles?.some(({ ID }) => ID === Role)) &&
              (AuthMethod === '' || token.AuthMethod.toLowerCase() === AuthMethod.toLowerCase()) &&
              !resolver.isExpired(token),
          );
          return { ...queryMeta(endpoint, index), Tokens: Tokens.map(stubOf) };
        },
        signal,
      );
    },
  };
}

function stubOf(token: ACLToken): ACLTokenListStub {
  const { SecretID: _s, Type: _t, Rules: _r, ExpirationTTL: _e, ...rest } = token;
  return { ...rest, Legacy: isLegacyToken(token) };
}

/** A token with every right. */
export function managementToken(endpoint: AclEndpoint, secret: string, description: string): ACLToken {
  const token: ACLToken = {
    ...emptyToken,
    AccessorID: endpoint.random.uuid(),
    SecretID: secret,
    Description: description,
    Policies: [{ ID: globalManagementPolicyId, Name: '' }],
    // So that the old API can show it as well.
    Type: 'management',
    CreateTime: now(endpoint),
  };
  return { ...token, Hash: aclTokenHash(token) };
}

export function now({ clock }: AclEndpoint): string {
  return new Date(clock.wallMs()).toISOString();
}

/** A token as it was written, with the names of its links. */
function stored({ store }: AclEndpoint, accessor: string): ACLToken {
  const token = store.acl.tokenByAccessor(accessor).result;
  // Somebody may have deleted it since; the peer then answers with nothing at all.
  if (token === null) throw tokenNotFound();
  return token;
}

/**
 * Creates or updates a token.
 * @throws CallError with the peer's text.
 */
export async function setToken(
  endpoint: AclEndpoint,
  wanted: { readonly token: ACLToken; readonly create: boolean; readonly fromLogin?: boolean },
): Promise<ACLToken> {
  const { store, log } = endpoint;
  const create = wanted.create || wanted.token.AccessorID === '';
  const base = create ? newToken(endpoint, wanted) : updatedToken(endpoint, wanted.token);
  const links = {
    Policies: resolvedLinks(store, 'policy', base.Policies),
    Roles: resolvedLinks(store, 'role', base.Roles),
  };
  const identities = requireIdentities('token', base, base.Local);
  if (base.Rules !== '') throw new CallError('Rules cannot be specified for this token');
  if (wanted.token.Type !== '') throw new CallError('Type cannot be specified for this token');
  const token = { ...base, ...links, ...identities };
  await log.propose({
    type: 'ACLTokenSet',
    request: { Tokens: [{ ...token, Hash: aclTokenHash(token) }], ProhibitUnprivileged: wanted.fromLogin === true },
  });
  return stored(endpoint, token.AccessorID);
}

/** Both IDs of a token share one space: neither may be what another token has in either place. */
function unusedId(endpoint: AclEndpoint, field: 'AccessorID' | 'SecretID', given: string): string {
  const { store, random } = endpoint;
  const taken = (id: string): boolean =>
    store.acl.tokenRecord(id) !== undefined || (isUuid(id) && store.acl.tokenByAccessor(id).result !== null);
  if (given === '') {
    for (;;) {
      const id = random.uuid();
      if (!taken(id)) return id;
    }
  }
  if (!isUuid(given)) throw new CallError(`Invalid Token: ${field} is not a valid UUID`);
  if (taken(given)) throw new CallError(`Invalid Token: ${field} is already in use`);
  if (given.startsWith(reservedIdPrefix)) {
    throw new CallError(`Invalid Token: UUIDs with the prefix "${reservedIdPrefix}" are reserved`);
  }
  return given;
}

/** @throws CallError, with the peer's words before the store's. */
function findByAccessor({ store, resolver }: AclEndpoint, accessor: string): ACLToken | null {
  try {
    const token = store.acl.tokenByAccessor(accessor).result;
    return token === null || resolver.isExpired(token) ? null : token;
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    throw new CallError(`Failed acl token lookup by accessor: ${error.message}`, { cause: error });
  }
}

function newToken(
  endpoint: AclEndpoint,
  { token, fromLogin = false }: { readonly token: ACLToken; readonly fromLogin?: boolean },
): ACLToken {
  if (token.AccessorID !== '') findByAccessor(endpoint, token.AccessorID);
  const AccessorID = unusedId(endpoint, 'AccessorID', token.AccessorID);
  const SecretID = unusedId(endpoint, 'SecretID', token.SecretID);
  if (!fromLogin && token.AuthMethod !== '') throw new CallError('AuthMethod field is disallowed outside of Login');
  const nowMs = endpoint.clock.wallMs();
  return {
    ...token,
    AccessorID,
    SecretID,
    CreateTime: now(endpoint),
    ExpirationTime: expiration(token, nowMs),
    ExpirationTTL: 0,
  };
}

function expiration({ ExpirationTTL, ExpirationTime }: ACLToken, nowMs: number): string | null {
  if (ExpirationTTL < 0) throw new CallError(`Token Expiration TTL '${formatGoDuration(ExpirationTTL)}' should be > 0`);
  if (ExpirationTTL > 0 && ExpirationTime !== null) {
    throw new CallError('Token Expiration TTL and Expiration Time cannot both be set');
  }
  const time = ExpirationTTL > 0 ? new Date(nowMs + ExpirationTTL / nsPerMs).toISOString() : ExpirationTime;
  if (time === null) return null;
  const ttlNs = (Date.parse(time) - nowMs) * nsPerMs;
  if (ttlNs < 0) throw new CallError('ExpirationTime cannot be before CreateTime');
  const was = `in the future (was ${formatGoDuration(ttlNs)})`;
  if (ttlNs > tokenTtlNsMax) {
    throw new CallError(`ExpirationTime cannot be more than ${formatGoDuration(tokenTtlNsMax)} ${was}`);
  }
  if (ttlNs < tokenTtlNsMin) {
    throw new CallError(`ExpirationTime cannot be less than ${formatGoDuration(tokenTtlNsMin)} ${was}`);
  }
  return time;
}

function updatedToken(endpoint: AclEndpoint, token: ACLToken): ACLToken {
  const before = findByAccessor(endpoint, token.AccessorID);
  if (before === null) throw new CallError(`Cannot find token "${token.AccessorID}"`);
  if (token.SecretID !== '' && token.SecretID !== before.SecretID) {
    throw new CallError('Changing a tokens SecretID is not permitted');
  }
  if (token.Local !== before.Local) throw new CallError(`cannot toggle local mode of ${token.AccessorID}`);
  if (token.AuthMethod !== '' && token.AuthMethod !== before.AuthMethod) {
    throw new CallError(`Cannot change AuthMethod of ${token.AccessorID}`);
  }
  const sameTime =
    token.ExpirationTime === null ||
    (before.ExpirationTime !== null && Date.parse(token.ExpirationTime) === Date.parse(before.ExpirationTime));
  if (token.ExpirationTTL !== 0 || !sameTime)
    throw new CallError(`Cannot change expiration time of ${token.AccessorID}`);
  return {
    ...token,
    AccessorID: before.AccessorID,
    SecretID: before.SecretID,
    AuthMethod: before.AuthMethod,
    ExpirationTime: before.ExpirationTime,
    CreateTime: before.CreateTime,
  };
}
