/**
 * `ACL.Apply`, `ACL.Get`, `ACL.List`: tokens of the time before policies, that carry their rules themselves. The leader
 * gives them an accessor at once, so that the newer calls know them too (reference/server-rpc.md §4.15).
 */
import {
  type ACLToken,
  anonymousTokenSecret,
  aclSyntax,
  CallError,
  globalManagementPolicyId,
  type LegacyACL,
} from '../../model/index.ts';
import { aclTokenHash, isLegacyToken } from '../../state/index.ts';
import { type Handlers, queryMeta, requireDatacenter } from '../endpoint.ts';
import type { AclEndpoint } from './endpoint.ts';
import { parseRules } from './rules.ts';
import { now } from './tokens.ts';

export function legacyHandlers(endpoint: AclEndpoint): Handlers<'ACL.Apply' | 'ACL.Get' | 'ACL.List'> {
  const { store, log, queries, random, resolver } = endpoint;
  return {
    'ACL.Apply': async (request) => {
      requireDatacenter(endpoint, request);
      const { Op } = request;
      if (Op === 'delete') {
        if (request.ACL.ID === '') throw new CallError('Missing ACL ID');
        if (request.ACL.ID === anonymousTokenSecret)
          throw new CallError('Permission denied: Cannot delete anonymous token');
      } else if (Op === 'set') {
        validate(request.ACL);
        const before = request.ACL.ID === '' ? undefined : store.acl.tokenRecord(request.ACL.ID);
        if (before !== undefined && !isLegacyToken(before)) {
          throw new CallError('Cannot use legacy endpoint to modify a non-legacy token');
        }
      } else {
        throw new CallError('Invalid ACL Operation');
      }
      const ID = request.ACL.ID || random.uuid();
      await log.propose({ type: 'LegacyACL', request: { ...request, ACL: { ...request.ACL, ID } } });
      const token = store.acl.tokenRecord(ID);
      if (Op === 'set' && token !== undefined && token.AccessorID === '') {
        await log.propose({ type: 'ACLTokenSet', request: { Tokens: [upgraded(endpoint, token)], CAS: true } });
      }
      return ID;
    },
    'ACL.Get': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.acl.tokenBySecret(request.ACL, watch);
          const shown = result !== null && isLegacyToken(result) && !resolver.isExpired(result);
          return { ...queryMeta(endpoint, index), ACLs: shown ? [legacyOf(result)] : [] };
        },
        signal,
      );
    },
    'ACL.List': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.acl.tokens(watch);
          const ACLs = result.filter((token) => !token.Local && isLegacyToken(token)).map(legacyOf);
          return { ...queryMeta(endpoint, index), ACLs };
        },
        signal,
      );
    },
  };
}

function validate({ Type, Rules }: LegacyACL): void {
  if (Type !== 'client' && Type !== 'management') throw new CallError('Invalid ACL Type');
  try {
    parseRules(Rules, aclSyntax.legacy);
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    throw new CallError(`ACL rule compilation failed: ${error.message}`, { cause: error });
  }
}

export function legacyOf({ SecretID, Description, Type, Rules, CreateIndex, ModifyIndex }: ACLToken): LegacyACL {
  return { ID: SecretID, Name: Description, Type, Rules, CreateIndex, ModifyIndex };
}

function upgraded(endpoint: AclEndpoint, token: ACLToken): ACLToken {
  const withAccessor: ACLToken = {
    ...token,
    AccessorID: endpoint.random.uuid(),
    CreateTime: now(endpoint),
    Policies: token.Type === 'management' ? [{ ID: globalManagementPolicyId, Name: '' }] : token.Policies,
  };
  return { ...withAccessor, Hash: aclTokenHash(withAccessor) };
}
