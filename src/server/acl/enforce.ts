/**
 * Enforcement: the one place where calls meet rights. The token is resolved once when the call begins and, because a
 * query may have waited for minutes, once more before its reply goes out. While ACLs are off nothing of this is in the
 * way of a call.
 */
import type { CallName, CallReply, CallRequest } from '../../model/index.ts';
import type { StateStore } from '../../state/index.ts';
import type { Handler, Handlers } from '../endpoint.ts';
import type { Authorizer } from './authorizer.ts';
import { type Caller, type Guard, guards, openCalls } from './guards.ts';
import { type AclResolver, permissionDenied } from './resolver.ts';

/** @returns `handlers` as they are while ACLs are off, else each behind its guard. */
export function enforced(
  handlers: Handlers,
  parts: { readonly resolver: AclResolver; readonly store: StateStore },
): Handlers {
  if (!parts.resolver.enabled) return handlers;
  const behind = <M extends CallName>(name: M): Handler<M> => {
    const handler: Handler<M> = handlers[name];
    return openCalls.has(name) ? handler : guarded(name, handler, parts);
  };
  const entries = (Object.keys(handlers) as CallName[]).map((name) => [name, behind(name)]);
  return Object.fromEntries(entries) as Handlers;
}

function guarded<M extends CallName>(
  name: M,
  handler: Handler<M>,
  { resolver, store }: { readonly resolver: AclResolver; readonly store: StateStore },
): Handler<M> {
  const guard: Guard<M> = guards[name];
  const callerOf = (request: CallRequest<M>): Caller => {
    const token = 'Token' in request ? (request.Token ?? '') : '';
    return { authorizer: resolver.resolve(token) as Authorizer, store, resolver };
  };
  return async (request, signal) => {
    if (guard.isOpen?.(request) === true) return await handler(request, signal);
    const caller = callerOf(request);
    if (guard.allows?.(caller, request) === false) throw permissionDenied();
    const reply = guard.instead?.(caller, request);
    if (reply !== undefined) return reply;
    const full: CallReply<M> = await handler(guard.rewrite?.(request) ?? request, signal);
    return guard.narrow === undefined ? full : guard.narrow(callerOf(request), full, request);
  };
}
