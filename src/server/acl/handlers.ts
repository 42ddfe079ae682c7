/** `ACL.*`: all of it, and what asks about rights instead of using them (reference/server-rpc.md §4.15). */
import {
  type ACLAuthorizationRequest,
  type AclCalls,
  authorizationsMax,
  CallError,
  type CallName,
  zeroTime,
} from '../../model/index.ts';
import { type Handler, type Handlers, requireDatacenter } from '../endpoint.ts';
import { authMethodHandlers, bindingRuleHandlers, loginHandlers } from './auth-methods.ts';
import type { Authorizer } from './authorizer.ts';
import type { AclEndpoint } from './endpoint.ts';
import { legacyHandlers } from './legacy.ts';
import { policyHandlers, roleHandlers } from './policies.ts';
import { namedResources, singleResources } from './rules.ts';
import { tokenHandlers } from './tokens.ts';
import { byteStringFromUtf8 } from '../../lib/index.ts';

export function aclHandlers(endpoint: AclEndpoint): Handlers<keyof AclCalls> {
  const handlers: Handlers<keyof AclCalls> = {
    ...tokenHandlers(endpoint),
    ...policyHandlers(endpoint),
    ...roleHandlers(endpoint),
    ...authMethodHandlers(endpoint),
    ...bindingRuleHandlers(endpoint),
    ...loginHandlers(endpoint),
    ...legacyHandlers(endpoint),
    'ACL.Authorize': (request) => {
      requireDatacenter(endpoint, request);
      const authorizer = endpoint.resolver.resolve(request.Token ?? '');
      if (request.Requests.length > authorizationsMax) {
        throw new CallError(`Refusing to process more than ${authorizationsMax} authorizations at once`);
      }
      return Promise.resolve(
        request.Requests.map((asked) => ({ ...asked, Allow: authorizer === null || isAllowed(authorizer, asked) })),
      );
    },
    'ACL.ReplicationStatus': (request) => {
      requireDatacenter(endpoint, request);
      return Promise.resolve({
        Enabled: false,
        Running: false,
        SourceDatacenter: '',
        ReplicationType: '',
        ReplicatedIndex: 0,
        ReplicatedRoleIndex: 0,
        ReplicatedTokenIndex: 0,
        LastSuccess: zeroTime,
        LastError: zeroTime,
      });
    },
  };
  return endpoint.resolver.enabled ? handlers : disabled(handlers);
}

/** While ACLs are off none of these calls does anything. */
function disabled<M extends CallName>(handlers: Handlers<M>): Handlers<M> {
  const refuse = (): Promise<never> => Promise.reject(new CallError('ACL support disabled'));
  return Object.fromEntries(
    Object.keys(handlers).map((name): [string, Handler<M>] => [name, refuse]),
  ) as unknown as Handlers<M>;
}

/** @throws CallError for what there is not. */
function isAllowed(authorizer: Authorizer, { Resource, Access, Segment }: ACLAuthorizationRequest): boolean {
  const access = Access.toLowerCase();
  const invalid = (): CallError => new CallError(`Invalid access level for ${Resource} resource: ${Access}`);
  const single = singleResources.find((name) => name === Resource);
  if (single !== undefined) {
    if (access !== 'read' && access !== 'write') throw invalid();
    return authorizer.maySingle(`${single}:${access}`);
  }
  if (Resource === 'key' && access === 'list') return authorizer.may('key:list', byteStringFromUtf8(Segment));
  const named = [...namedResources, 'intention' as const].find((name) => name === Resource);
  if (named === undefined) throw new CallError(`Invalid ACL resource requested: "${Resource}"`);
  if (access !== 'read' && access !== 'write') throw invalid();
  return authorizer.may(`${named}:${access}`, named === 'key' ? byteStringFromUtf8(Segment) : Segment);
}
