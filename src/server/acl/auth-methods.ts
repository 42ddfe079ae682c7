/**
 * `ACL.AuthMethod*`, `ACL.BindingRule*`, `ACL.Login`, `ACL.Logout`: tokens for who can prove an identity that somebody
 * else vouches for. Rules say which identities become which service, node or role (reference/server-rpc.md §4.15).
 */
import {
  compileFilter,
  compileHil,
  encodeGoJson,
  type Filter,
  FilterError,
  formatGoDuration,
  HilError,
} from '../../codec/index.ts';
import {
  type ACLAuthMethod,
  type ACLAuthMethodListStub,
  type ACLBindingRule,
  type ACLLink,
  type ACLNodeIdentity,
  type ACLServiceIdentity,
  CallError,
  emptyToken,
} from '../../model/index.ts';
import { isUuid } from '../../state/index.ts';
import { type Handlers, queryMeta, requireDatacenter } from '../endpoint.ts';
import type { AclEndpoint } from './endpoint.ts';
import { jwtValidator } from './jwt.ts';
import { kubernetesValidator } from './kubernetes.ts';
import { isNodeIdentityName, isRoleName, isServiceIdentityName, requireName } from './names.ts';
import { permissionDenied, tokenNotFound } from './resolver.ts';
import { setToken, tokenTtlNsMax, tokenTtlNsMin } from './tokens.ts';
import type { Identity, Validator } from './validator.ts';

type MethodCall = 'ACL.AuthMethodRead' | 'ACL.AuthMethodSet' | 'ACL.AuthMethodDelete' | 'ACL.AuthMethodList';
type RuleCall = 'ACL.BindingRuleRead' | 'ACL.BindingRuleSet' | 'ACL.BindingRuleDelete' | 'ACL.BindingRuleList';

const validatorTypes: Readonly<Record<string, (config: ACLAuthMethod['Config'], endpoint: AclEndpoint) => Validator>> =
  {
    jwt: jwtValidator,
    kubernetes: kubernetesValidator,
  };

const validators = new WeakMap<ACLAuthMethod, Validator>();

/** Keys are parsed once for each version of the method. */
function validatorOf(endpoint: AclEndpoint, method: ACLAuthMethod): Validator {
  let validator = validators.get(method);
  if (validator === undefined) {
    const make = validatorTypes[method.Type];
    if (make === undefined) throw unknownType();
    validators.set(method, (validator = make(method.Config, endpoint)));
  }
  return validator;
}

function unknownType(): CallError {
  return new CallError(`Invalid Auth Method: Type should be one of: [${Object.keys(validatorTypes).join(' ')}]`);
}

export function authMethodHandlers(endpoint: AclEndpoint): Handlers<MethodCall> {
  const { store, log, queries } = endpoint;
  return {
    'ACL.AuthMethodRead': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.acl.authMethod(request.AuthMethodName, watch);
          return { ...queryMeta(endpoint, index), AuthMethod: result };
        },
        signal,
      );
    },
    'ACL.AuthMethodSet': async (request) => {
      requireDatacenter(endpoint, request);
      const method = await validatedMethod(endpoint, request.AuthMethod);
      await log.propose({ type: 'ACLAuthMethodSet', request: { AuthMethods: [method] } });
      return store.acl.authMethod(method.Name).result ?? method;
    },
    'ACL.AuthMethodDelete': async (request) => {
      requireDatacenter(endpoint, request);
      const method = store.acl.authMethod(request.AuthMethodName).result;
      if (method === null) return false;
      await log.propose({ type: 'ACLAuthMethodDelete', request: { AuthMethodNames: [method.Name] } });
      return true;
    },
    'ACL.AuthMethodList': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.acl.authMethods(watch);
          return { ...queryMeta(endpoint, index), AuthMethods: result.map(methodStub) };
        },
        signal,
      );
    },
  };
}

function methodStub(method: ACLAuthMethod): ACLAuthMethodListStub {
  const { Name, Type, DisplayName, Description, CreateIndex, ModifyIndex } = method;
  return { Name, Type, DisplayName, Description, CreateIndex, ModifyIndex };
}

async function validatedMethod(endpoint: AclEndpoint, wanted: ACLAuthMethod): Promise<ACLAuthMethod> {
  const { store } = endpoint;
  requireName('Auth Method', wanted.Name);
  const before = store.acl.authMethod(wanted.Name).result;
  const method = { ...wanted, Type: wanted.Type || (before?.Type ?? '') };
  if (before !== null && method.Type !== before.Type) {
    throw new CallError('the Type field of an Auth Method is immutable');
  }
  if (!Object.hasOwn(validatorTypes, method.Type)) throw unknownType();
  const { MaxTokenTTL } = method;
  const told = formatGoDuration(MaxTokenTTL);
  if (MaxTokenTTL > tokenTtlNsMax) {
    throw new CallError(`MaxTokenTTL ${told} cannot be more than ${formatGoDuration(tokenTtlNsMax)}`);
  }
  if (MaxTokenTTL !== 0 && MaxTokenTTL < tokenTtlNsMin) {
    throw new CallError(`MaxTokenTTL ${told} cannot be less than ${formatGoDuration(tokenTtlNsMin)}`);
  }
  if (!['', 'local', 'global'].includes(method.TokenLocality)) {
    throw new CallError("Invalid Auth Method: TokenLocality should be one of 'local' or 'global'");
  }
  await validatorOf(endpoint, method).check();
  return method;
}

export function bindingRuleHandlers(endpoint: AclEndpoint): Handlers<RuleCall> {
  const { store, log, queries } = endpoint;
  return {
    'ACL.BindingRuleRead': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.acl.bindingRule(request.BindingRuleID, watch);
          return { ...queryMeta(endpoint, index), BindingRule: result };
        },
        signal,
      );
    },
    'ACL.BindingRuleSet': async (request) => {
      requireDatacenter(endpoint, request);
      const rule = validatedRule(endpoint, request.BindingRule);
      await log.propose({ type: 'ACLBindingRuleSet', request: { BindingRules: [rule] } });
      return store.acl.bindingRule(rule.ID).result ?? rule;
    },
    'ACL.BindingRuleDelete': async (request) => {
      requireDatacenter(endpoint, request);
      const rule = store.acl.bindingRule(request.BindingRuleID).result;
      if (rule === null) return false;
      await log.propose({ type: 'ACLBindingRuleDelete', request: { BindingRuleIDs: [rule.ID] } });
      return true;
    },
    'ACL.BindingRuleList': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.acl.bindingRules(request.AuthMethod, watch);
          return { ...queryMeta(endpoint, index), BindingRules: result };
        },
        signal,
      );
    },
  };
}

function validatedRule(endpoint: AclEndpoint, wanted: ACLBindingRule): ACLBindingRule {
  const { store, random } = endpoint;
  let rule = { ...wanted, ID: wanted.ID || random.uuid() };
  if (wanted.ID !== '') {
    if (!isUuid(wanted.ID)) throw new CallError('Binding Rule ID invalid UUID');
    const before = store.acl.bindingRule(wanted.ID).result;
    if (before === null) throw new CallError(`cannot find binding rule ${wanted.ID}`);
    rule = { ...rule, AuthMethod: rule.AuthMethod || before.AuthMethod };
    if (before.AuthMethod !== rule.AuthMethod) {
      throw new CallError('the AuthMethod field of an Binding Rule is immutable');
    }
  }
  if (rule.AuthMethod === '') throw new CallError('Invalid Binding Rule: no AuthMethod is set');
  const method = store.acl.authMethod(rule.AuthMethod).result;
  if (method === null) throw new CallError(`cannot find auth method with name "${rule.AuthMethod}"`);
  const validator = validatorOf(endpoint, method);
  try {
    selectorOf(rule.Selector, validator);
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    throw new CallError(`invalid Binding Rule: Selector is invalid: ${error.message}`, { cause: error });
  }
  if (rule.BindType === '') throw new CallError('Invalid Binding Rule: no BindType is set');
  if (rule.BindName === '') throw new CallError('Invalid Binding Rule: no BindName is set');
  const valid = Object.hasOwn(bindNames, rule.BindType) ? bindNames[rule.BindType] : undefined;
  if (valid === undefined) throw new CallError(`Invalid Binding Rule: unknown BindType "${rule.BindType}"`);
  let example: string;
  try {
    // With "fake" for every name, as the peer tries it.
    example = boundName(rule, Object.fromEntries(validator.variables.map((name) => [name, 'fake'])));
  } catch (error) {
    if (!(error instanceof HilError)) throw error;
    const unknown = /^unknown variable accessed: (.*)$/.exec(error.message)?.[1];
    // The peer says where it stands: line, column.
    const place = unknown === undefined ? '' : `1:${rule.BindName.indexOf(unknown) + 1}: `;
    throw new CallError(`Invalid Binding Rule: invalid BindName: ${place}${error.message}`, { cause: error });
  }
  if (!valid(example)) throw new CallError('Invalid Binding Rule: invalid BindName');
  return rule;
}

const bindNames: Readonly<Record<string, (name: string) => boolean>> = {
  service: isServiceIdentityName,
  node: isNodeIdentityName,
  role: isRoleName,
};

/** Whether a rule is about an identity; undefined when it is about all. @throws FilterError */
function selectorOf(selector: string, { fields }: Validator): Filter | undefined {
  return selector === '' ? undefined : compileFilter(selector, fields);
}

/** @throws HilError */
function boundName({ BindName }: ACLBindingRule, variables: Identity['variables']): string {
  return compileHil(BindName)({ variables, functions: {} });
}

export function loginHandlers(endpoint: AclEndpoint): Handlers<'ACL.Login' | 'ACL.Logout'> {
  const { store, log, clock, resolver } = endpoint;
  return {
    'ACL.Login': async (request) => {
      requireDatacenter(endpoint, request);
      const { Auth } = request;
      if (Auth === null || Auth === undefined) throw new CallError('Invalid Login request: Missing auth parameters');
      if (request.Token) throw new CallError('do not provide a token when logging in');
      const method = store.acl.authMethod(Auth.AuthMethod).result;
      if (method === null) throw tokenNotFound();
      const validator = validatorOf(endpoint, method);
      const identity = await validator.validate(Auth.BearerToken, clock.wallMs());
      const grants = bindings(endpoint, method, validator, identity);
      const meta = Auth.Meta === null || Object.keys(Auth.Meta).length === 0 ? '' : `: ${metaText(Auth.Meta)}`;
      return await setToken(endpoint, {
        create: true,
        fromLogin: true,
        token: {
          ...emptyToken,
          ...grants,
          Description: `token created via login${meta}`,
          Local: method.TokenLocality !== 'global',
          AuthMethod: method.Name,
          ExpirationTTL: method.MaxTokenTTL,
        },
      });
    },
    'ACL.Logout': async (request) => {
      requireDatacenter(endpoint, request);
      const token = request.Token ? store.acl.tokenRecord(request.Token) : undefined;
      if (token === undefined || resolver.isExpired(token)) throw tokenNotFound();
      if (token.AuthMethod === '') throw permissionDenied();
      await log.propose({ type: 'ACLTokenDelete', request: { TokenIDs: [token.AccessorID] } });
      return true;
    },
  };
}

function metaText(meta: Readonly<Record<string, string>>): string {
  return encodeGoJson(new Map(Object.entries(meta)));
}

/** What an identity is bound to. @throws CallError when that is nothing. */
function bindings(
  { store, datacenter }: AclEndpoint,
  method: ACLAuthMethod,
  validator: Validator,
  identity: Identity,
): {
  readonly ServiceIdentities: readonly ACLServiceIdentity[] | null;
  readonly NodeIdentities: readonly ACLNodeIdentity[] | null;
  readonly Roles: readonly ACLLink[] | null;
} {
  const services: ACLServiceIdentity[] = [];
  const nodes: ACLNodeIdentity[] = [];
  const roles: ACLLink[] = [];
  for (const rule of store.acl.bindingRules(method.Name).result) {
    const selector = selectorOf(rule.Selector, validator);
    if (selector !== undefined && !selector(identity.selectable)) continue;
    const bound = boundName(rule, identity.variables);
    const name = rule.BindType === 'role' ? bound : bound.toLowerCase();
    if (bindNames[rule.BindType]?.(name) !== true) {
      throw new CallError(`computed "${rule.BindType}" bind name for bind target is invalid: ${JSON.stringify(name)}`);
    }
    if (rule.BindType === 'service') services.push({ ServiceName: name, Datacenters: null });
    else if (rule.BindType === 'node') nodes.push({ NodeName: name, Datacenter: datacenter });
    else {
      const role = store.acl.roleByName(name).result;
      if (role !== null) roles.push({ ID: role.ID, Name: '' });
    }
  }
  if (services.length + nodes.length + roles.length === 0) throw permissionDenied();
  const orNull = <T>(list: readonly T[]): readonly T[] | null => (list.length === 0 ? null : list);
  return { ServiceIdentities: orNull(services), NodeIdentities: orNull(nodes), Roles: orNull(roles) };
}
