/**
 * The ACL tables: tokens, policies, roles, auth methods and binding rules. Tokens and roles refer to policies by ID;
 * names are put in when they are read, and links to what is gone are left out then (reference/raft.md §6.8).
 */
import {
  type ACLAuthMethod,
  type ACLBindingRule,
  type ACLGrants,
  type ACLLink,
  type ACLPolicy,
  type ACLRole,
  type ACLToken,
  anonymousTokenAccessor,
  CallError,
  emptyToken,
  globalManagementPolicyId,
  type LegacyACLRequest,
} from '../model/index.ts';
import { aclTokenHash } from './acl-hash.ts';
import type { IndexRows } from './index-rows.ts';
import { RowTable } from './row-table.ts';
import type { Answer } from './store.ts';
import type { Transaction } from './transaction.ts';
import { isUuid } from './uuid.ts';

type WatchList = string[] | undefined;

/** Payloads of the ACL commands, as the log has them (reference/raft.md §4.2). */
export interface AclCommands {
  ACLBootstrap: { request: { readonly Token: ACLToken; readonly ResetIndex: number }; result: null };
  ACLTokenSet: {
    request: {
      readonly Tokens: readonly ACLToken[];
      /** A token whose ModifyIndex is not the stored one is left as it is. */
      readonly CAS?: boolean;
      readonly AllowMissingLinks?: boolean;
      /** Auth methods need not be here: they stay in the primary datacenter. */
      readonly FromReplication?: boolean;
      /** A token without any rights is left out. */
      readonly ProhibitUnprivileged?: boolean;
    };
    result: null;
  };
  /** TokenIDs are accessors. */
  ACLTokenDelete: { request: { readonly TokenIDs: readonly string[] }; result: null };
  ACLPolicySet: { request: { readonly Policies: readonly ACLPolicy[] }; result: null };
  ACLPolicyDelete: { request: { readonly PolicyIDs: readonly string[] }; result: null };
  ACLRoleSet: { request: { readonly Roles: readonly ACLRole[]; readonly AllowMissingLinks?: boolean }; result: null };
  ACLRoleDelete: { request: { readonly RoleIDs: readonly string[] }; result: null };
  ACLBindingRuleSet: { request: { readonly BindingRules: readonly ACLBindingRule[] }; result: null };
  ACLBindingRuleDelete: { request: { readonly BindingRuleIDs: readonly string[] }; result: null };
  ACLAuthMethodSet: { request: { readonly AuthMethods: readonly ACLAuthMethod[] }; result: null };
  ACLAuthMethodDelete: { request: { readonly AuthMethodNames: readonly string[] }; result: null };
  LegacyACL: { request: LegacyACLRequest; result: string | null };
}

/** Type numbers in the log. */
export const aclCommandNumbers: Readonly<Record<keyof AclCommands, number>> = {
  LegacyACL: 4,
  ACLBootstrap: 11,
  ACLTokenSet: 17,
  ACLTokenDelete: 18,
  ACLPolicySet: 19,
  ACLPolicyDelete: 20,
  ACLRoleSet: 23,
  ACLRoleDelete: 24,
  ACLBindingRuleSet: 25,
  ACLBindingRuleDelete: 26,
  ACLAuthMethodSet: 27,
  ACLAuthMethodDelete: 28,
};

/** Everything the tables hold, for a snapshot. */
export interface AclSnapshot {
  readonly tokens: readonly ACLToken[];
  readonly policies: readonly ACLPolicy[];
  readonly roles: readonly ACLRole[];
  readonly authMethods: readonly ACLAuthMethod[];
  readonly bindingRules: readonly ACLBindingRule[];
}

/** When the first management token was made. */
export const bootstrapRow = 'acl-token-bootstrap';
const lower = (text: string): string => text.toLowerCase();

export class AclTables {
  readonly #rows: IndexRows;
  readonly #tokens: RowTable<ACLToken>;
  readonly #policies: RowTable<ACLPolicy>;
  readonly #roles: RowTable<ACLRole>;
  readonly #methods: RowTable<ACLAuthMethod>;
  readonly #rules: RowTable<ACLBindingRule>;
  /** Secrets by accessor; a legacy token that is not upgraded yet has none. */
  readonly #secrets = new Map<string, string>();

  constructor(rows: IndexRows) {
    this.#rows = rows;
    this.#tokens = new RowTable('acl-tokens', rows, ({ SecretID }) => SecretID);
    this.#policies = new RowTable('acl-policies', rows, ({ ID }) => lower(ID));
    this.#roles = new RowTable('acl-roles', rows, ({ ID }) => lower(ID));
    this.#methods = new RowTable('acl-auth-methods', rows, ({ Name }) => lower(Name));
    this.#rules = new RowTable('acl-binding-rules', rows, ({ ID }) => lower(ID));
  }

  /** Moves whenever what a token is allowed may have changed without the token's own record. */
  get grantsIndex(): number {
    return Math.max(this.#policies.index, this.#roles.index);
  }

  /** Index of the bootstrap, 0 before it. */
  get bootstrapIndex(): number {
    return this.#rows.get(bootstrapRow);
  }

  snapshot(): AclSnapshot {
    return {
      tokens: this.#tokens.list,
      policies: this.#policies.list,
      roles: this.#roles.list,
      authMethods: this.#methods.list,
      bindingRules: this.#rules.list,
    };
  }

  /** The stored record, its links as stored; for deciding, not for showing. */
  tokenRecord(secret: string): ACLToken | undefined {
    return this.#tokens.get(secret);
  }

  policyRecord(id: string): ACLPolicy | undefined {
    return this.#policies.get(lower(id));
  }

  roleRecord(id: string): ACLRole | undefined {
    return this.#roles.get(lower(id));
  }

  /** A token by its secret, with the names of what it links to. */
  tokenBySecret(secret: string, watch?: WatchList): Answer<ACLToken | null> {
    this.#watchTokens(watch);
    return { index: this.#tokens.index, result: this.#shown(this.#tokens.get(secret)) };
  }

  /** @throws CallError when the accessor is not a UUID. */
  tokenByAccessor(accessor: string, watch?: WatchList): Answer<ACLToken | null> {
    requireUuid(accessor, 'failed acl token lookup');
    this.#watchTokens(watch);
    return { index: this.#tokens.index, result: this.#shown(this.#byAccessor(accessor)) };
  }

  /** All tokens by accessor, with the names of what they link to. */
  tokens(watch?: WatchList): Answer<readonly ACLToken[]> {
    this.#watchTokens(watch);
    const list = this.#tokens.list.map((token) => this.#linked(token));
    return { index: this.#tokens.index, result: list.sort((a, b) => (a.AccessorID < b.AccessorID ? -1 : 1)) };
  }

  /** Secrets of the tokens that end some day, with the time. */
  expiringTokens(): readonly ACLToken[] {
    return this.#tokens.list.filter(({ ExpirationTime }) => ExpirationTime !== null);
  }

  /** @throws CallError when the id is not a UUID. */
  policy(id: string, watch?: WatchList): Answer<ACLPolicy | null> {
    requireUuid(id, 'failed acl policy lookup');
    watch?.push(this.#policies.watchKey);
    return { index: this.#policies.index, result: this.#policies.get(lower(id)) ?? null };
  }

  policyByName(name: string, watch?: WatchList): Answer<ACLPolicy | null> {
    watch?.push(this.#policies.watchKey);
    return { index: this.#policies.index, result: named(this.#policies.list, name) };
  }

  policies(watch?: WatchList): Answer<readonly ACLPolicy[]> {
    watch?.push(this.#policies.watchKey);
    return { index: this.#policies.index, result: this.#policies.list };
  }

  /** @throws CallError when the id is not a UUID. */
  role(id: string, watch?: WatchList): Answer<ACLRole | null> {
    requireUuid(id, 'failed acl role lookup');
    this.#watchRoles(watch);
    const found = this.#roles.get(lower(id));
    return { index: this.#roles.index, result: found === undefined ? null : this.#withPolicyNames(found) };
  }

  roleByName(name: string, watch?: WatchList): Answer<ACLRole | null> {
    this.#watchRoles(watch);
    const found = named(this.#roles.list, name);
    return { index: this.#roles.index, result: found === null ? null : this.#withPolicyNames(found) };
  }

  roles(watch?: WatchList): Answer<readonly ACLRole[]> {
    this.#watchRoles(watch);
    return { index: this.#roles.index, result: this.#roles.list.map((role) => this.#withPolicyNames(role)) };
  }

  authMethod(name: string, watch?: WatchList): Answer<ACLAuthMethod | null> {
    watch?.push(this.#methods.watchKey);
    return { index: this.#methods.index, result: this.#methods.get(lower(name)) ?? null };
  }

  authMethods(watch?: WatchList): Answer<readonly ACLAuthMethod[]> {
    watch?.push(this.#methods.watchKey);
    return { index: this.#methods.index, result: this.#methods.list };
  }

  /** @throws CallError when the id is not a UUID. */
  bindingRule(id: string, watch?: WatchList): Answer<ACLBindingRule | null> {
    requireUuid(id, 'failed acl binding rule lookup');
    watch?.push(this.#rules.watchKey);
    return { index: this.#rules.index, result: this.#rules.get(lower(id)) ?? null };
  }

  /** @param method only those of this auth method; "" for all. */
  bindingRules(method: string, watch?: WatchList): Answer<readonly ACLBindingRule[]> {
    watch?.push(this.#rules.watchKey);
    const { list } = this.#rules;
    const result = method === '' ? list : list.filter(({ AuthMethod }) => lower(AuthMethod) === lower(method));
    return { index: this.#rules.index, result };
  }

  /** Rows of a snapshot, as they are. */
  restoreToken(tx: Transaction, token: ACLToken): void {
    this.#putToken(tx, token);
  }

  restorePolicy(tx: Transaction, policy: ACLPolicy): void {
    this.#policies.put(tx, Object.freeze(policy));
  }

  restoreRole(tx: Transaction, role: ACLRole): void {
    this.#roles.put(tx, Object.freeze(role));
  }

  restoreBindingRule(tx: Transaction, rule: ACLBindingRule): void {
    this.#rules.put(tx, Object.freeze(rule));
  }

  restoreAuthMethod(tx: Transaction, method: ACLAuthMethod): void {
    this.#methods.put(tx, Object.freeze(method));
  }

  /** The first management token: once, or once more for who knows the index of the last time. */
  bootstrap(tx: Transaction, { Token, ResetIndex }: AclCommands['ACLBootstrap']['request']): void {
    const done = this.bootstrapIndex;
    if (done !== 0 && ResetIndex === 0) throw new CallError('ACL bootstrap no longer allowed');
    if (done !== 0 && ResetIndex !== done) {
      throw new CallError(`Invalid bootstrap reset index (specified ${ResetIndex}, reset index: ${done})`);
    }
    this.#setToken(tx, Token, {});
    this.#rows.move(tx, bootstrapRow);
  }

  setTokens(tx: Transaction, { Tokens, ...options }: AclCommands['ACLTokenSet']['request']): void {
    for (const token of Tokens) this.#setToken(tx, token, options);
  }

  #setToken(tx: Transaction, wanted: ACLToken, options: Omit<AclCommands['ACLTokenSet']['request'], 'Tokens'>): void {
    if (wanted.SecretID === '') throw new CallError('Missing ACL Token SecretID');
    if (wanted.AccessorID === '') throw new CallError('Missing ACL Token AccessorID');
    const before = this.#byAccessor(wanted.AccessorID) ?? this.#tokens.get(wanted.SecretID);
    if (options.CAS === true && (before?.ModifyIndex ?? 0) !== wanted.ModifyIndex) return;
    if (before !== undefined && before.AccessorID !== '' && lower(before.AccessorID) !== lower(wanted.AccessorID)) {
      throw new CallError('The ACL Token AccessorID field is immutable');
    }
    if (before !== undefined && before.SecretID !== wanted.SecretID) {
      throw new CallError('The ACL Token SecretID field is immutable');
    }
    const ownLogin = wanted.AuthMethod !== '' && options.FromReplication !== true;
    if (ownLogin && before === undefined && !this.#methods.get(lower(wanted.AuthMethod))) {
      throw new CallError(`No such auth method with Name: ${wanted.AuthMethod}`);
    }
    const allowMissing = options.AllowMissingLinks === true;
    const token = {
      ...wanted,
      Policies: this.#checkedLinks(wanted.Policies, 'policy', allowMissing),
      Roles: this.#checkedLinks(wanted.Roles, 'role', allowMissing),
    };
    if (options.ProhibitUnprivileged === true && isUnprivileged(token)) return;
    this.#putToken(tx, {
      ...token,
      Hash: token.Hash ?? aclTokenHash(token),
      CreateIndex: before?.CreateIndex ?? tx.index,
      ModifyIndex: tx.index,
    });
  }

  /** Of the time before policies: known by its secret, and first without an accessor. */
  setLegacy(tx: Transaction, { Op, ACL }: LegacyACLRequest): string | null {
    const before = this.#tokens.get(ACL.ID);
    if (Op === 'delete') {
      if (before !== undefined) this.#dropToken(tx, before);
      return null;
    }
    if (ACL.ID === '') throw new CallError('Missing ACL ID');
    if (before !== undefined && !isLegacyToken(before)) {
      throw new CallError('failed inserting acl token: cannot use legacy endpoint to modify a non-legacy token');
    }
    const token: ACLToken = {
      ...emptyToken,
      ...(before === undefined ? {} : { AccessorID: before.AccessorID, CreateTime: before.CreateTime }),
      SecretID: ACL.ID,
      Description: ACL.Name,
      Type: ACL.Type,
      Rules: ACL.Rules,
      CreateIndex: before?.CreateIndex ?? tx.index,
      ModifyIndex: tx.index,
    };
    this.#putToken(tx, { ...token, Hash: aclTokenHash(token) });
    return ACL.ID;
  }

  deleteTokens(tx: Transaction, accessors: readonly string[]): void {
    for (const accessor of accessors) {
      if (accessor === anonymousTokenAccessor)
        throw new CallError('Deletion of the builtin anonymous token is not permitted');
      const token = this.#byAccessor(accessor);
      if (token !== undefined) this.#dropToken(tx, token);
    }
  }

  setPolicies(tx: Transaction, policies: readonly ACLPolicy[]): void {
    for (const wanted of policies) {
      if (wanted.ID === '') throw new CallError('Missing ACL Policy ID');
      if (wanted.Name === '') throw new CallError('Missing ACL Policy Name');
      const before = this.policyRecord(wanted.ID);
      if (before !== undefined && before.ID === globalManagementPolicyId && before.Rules !== wanted.Rules) {
        throw new CallError('Changing the Rules for the builtin global-management policy is not permitted');
      }
      this.#requireFreeName(this.#policies.list, wanted, 'Policy');
      this.#policies.put(tx, indexed(tx, wanted, before));
    }
  }

  deletePolicies(tx: Transaction, ids: readonly string[]): void {
    for (const id of ids) {
      if (id === globalManagementPolicyId) {
        throw new CallError('Deletion of the builtin global-management policy is not permitted');
      }
      this.#policies.remove(tx, lower(id));
    }
  }

  setRoles(tx: Transaction, { Roles, AllowMissingLinks }: AclCommands['ACLRoleSet']['request']): void {
    for (const wanted of Roles) {
      if (wanted.ID === '') throw new CallError('Missing ACL Role ID');
      if (wanted.Name === '') throw new CallError('Missing ACL Role Name');
      this.#requireFreeName(this.#roles.list, wanted, 'Role');
      const Policies = this.#checkedLinks(wanted.Policies, 'policy', AllowMissingLinks === true);
      this.#roles.put(tx, indexed(tx, { ...wanted, Policies }, this.roleRecord(wanted.ID)));
    }
  }

  deleteRoles(tx: Transaction, ids: readonly string[]): void {
    for (const id of ids) this.#roles.remove(tx, lower(id));
  }

  setBindingRules(tx: Transaction, rules: readonly ACLBindingRule[]): void {
    for (const wanted of rules) {
      if (wanted.ID === '') throw new CallError('Missing ACL Binding Rule ID');
      if (!this.#methods.get(lower(wanted.AuthMethod))) {
        throw new CallError(`failed inserting acl binding rule: auth method not found`);
      }
      this.#rules.put(tx, indexed(tx, wanted, this.#rules.get(lower(wanted.ID))));
    }
  }

  deleteBindingRules(tx: Transaction, ids: readonly string[]): void {
    for (const id of ids) this.#rules.remove(tx, lower(id));
  }

  setAuthMethods(tx: Transaction, methods: readonly ACLAuthMethod[]): void {
    for (const wanted of methods) {
      if (wanted.Name === '') throw new CallError('Missing ACL Auth Method Name');
      this.#methods.put(tx, indexed(tx, wanted, this.#methods.get(lower(wanted.Name))));
    }
  }

  /** With the rules, and the tokens that came by them: of a method for local tokens the local ones only. */
  deleteAuthMethods(tx: Transaction, names: readonly string[]): void {
    for (const name of names) {
      const method = this.#methods.get(lower(name));
      if (method === undefined) continue;
      for (const rule of this.bindingRules(name).result) this.#rules.remove(tx, lower(rule.ID));
      const global = method.TokenLocality === 'global';
      for (const token of this.#tokens.list) {
        if (lower(token.AuthMethod) === lower(name) && token.Local !== global) this.#dropToken(tx, token);
      }
      this.#methods.remove(tx, lower(name));
    }
  }

  #byAccessor(accessor: string): ACLToken | undefined {
    const secret = this.#secrets.get(lower(accessor));
    return secret === undefined ? undefined : this.#tokens.get(secret);
  }

  #putToken(tx: Transaction, token: ACLToken): void {
    const inUse = this.#tokens.get(token.SecretID);
    if (inUse !== undefined && inUse.AccessorID !== '' && lower(inUse.AccessorID) !== lower(token.AccessorID)) {
      throw new CallError('failed inserting acl token: the SecretID is in use');
    }
    this.#tokens.put(tx, Object.freeze(token));
    if (token.AccessorID !== '') this.#link(tx, lower(token.AccessorID), token.SecretID);
  }

  #dropToken(tx: Transaction, token: ACLToken): void {
    this.#tokens.remove(tx, token.SecretID);
    if (token.AccessorID !== '') this.#link(tx, lower(token.AccessorID), undefined);
  }

  #link(tx: Transaction, accessor: string, secret: string | undefined): void {
    const before = this.#secrets.get(accessor);
    const set = (value: string | undefined): void => {
      if (value === undefined) this.#secrets.delete(accessor);
      else this.#secrets.set(accessor, value);
    };
    set(secret);
    tx.onRollback(() => set(before));
  }

  /** Links without names and without repetition. @throws CallError for one that leads nowhere. */
  #checkedLinks(
    links: readonly ACLLink[] | null,
    kind: 'policy' | 'role',
    allowMissing: boolean,
  ): readonly ACLLink[] | null {
    if (links === null || links.length === 0) return null;
    const checked = new Map<string, ACLLink>();
    for (const { ID } of links) {
      const known = kind === 'policy' ? this.policyRecord(ID) : this.roleRecord(ID);
      if (known === undefined && !allowMissing) throw new CallError(`No such ACL ${kind} with ID: ${ID}`);
      checked.set(lower(ID), { ID, Name: '' });
    }
    return [...checked.values()];
  }

  #requireFreeName(
    list: readonly { readonly ID: string; readonly Name: string }[],
    wanted: { readonly ID: string; readonly Name: string },
    kind: string,
  ): void {
    const other = named(list, wanted.Name);
    if (other !== null && lower(other.ID) !== lower(wanted.ID)) {
      throw new CallError(`A ${kind} with Name "${wanted.Name}" already exists`);
    }
  }

  #watchTokens(watch: WatchList): void {
    watch?.push(this.#tokens.watchKey, this.#policies.watchKey, this.#roles.watchKey);
  }

  #watchRoles(watch: WatchList): void {
    watch?.push(this.#roles.watchKey, this.#policies.watchKey);
  }

  #shown(token: ACLToken | undefined): ACLToken | null {
    return token === undefined ? null : this.#linked(token);
  }

  #linked(token: ACLToken): ACLToken {
    if (token.Policies === null && token.Roles === null) return token;
    return {
      ...this.#withPolicyNames(token),
      Roles: namedLinks(token.Roles, (id) => this.roleRecord(id)),
    };
  }

  #withPolicyNames<T extends ACLGrants>(holder: T): T {
    return { ...holder, Policies: namedLinks(holder.Policies, (id) => this.policyRecord(id)) };
  }
}

function requireUuid(id: string, what: string): void {
  if (!isUuid(id)) throw new CallError(`${what}: index error: UUID must be 36 characters`);
}

function named<T extends { readonly Name: string }>(list: readonly T[], name: string): T | null {
  const wanted = lower(name);
  return list.find(({ Name }) => lower(Name) === wanted) ?? null;
}

function namedLinks(
  links: readonly ACLLink[] | null,
  find: (id: string) => { readonly Name: string } | undefined,
): readonly ACLLink[] | null {
  if (links === null) return null;
  const kept = links.flatMap(({ ID }) => {
    const found = find(ID);
    return found === undefined ? [] : [{ ID, Name: found.Name }];
  });
  return kept.length === 0 ? null : kept;
}

function indexed<T extends { readonly CreateIndex: number }>(tx: Transaction, row: T, before: T | undefined): T {
  return Object.freeze({ ...row, CreateIndex: before?.CreateIndex ?? tx.index, ModifyIndex: tx.index });
}

function isUnprivileged({ Policies, Roles, ServiceIdentities, NodeIdentities, Type, Rules }: ACLToken): boolean {
  const lists = [Policies, Roles, ServiceIdentities, NodeIdentities];
  return lists.every((list) => (list?.length ?? 0) === 0) && Type === '' && Rules === '';
}

/** Whether a token says nothing that the old system could not say. */
export function isLegacyToken(token: ACLToken): boolean {
  const lists = [token.Policies, token.Roles, token.ServiceIdentities, token.NodeIdentities];
  return (
    lists.every((list) => (list?.length ?? 0) === 0) &&
    token.Type !== '' &&
    token.ExpirationTime === null &&
    token.AuthMethod === ''
  );
}

interface WithAcl {
  readonly acl: AclTables;
}

/** How each ACL command is applied. */
export const aclAppliers: {
  readonly [T in keyof AclCommands]: (
    tables: WithAcl,
    tx: Transaction,
    request: AclCommands[T]['request'],
  ) => AclCommands[T]['result'];
} = {
  ACLBootstrap: (tables, tx, request) => done(tables.acl.bootstrap(tx, request)),
  ACLTokenSet: (tables, tx, request) => done(tables.acl.setTokens(tx, request)),
  ACLTokenDelete: (tables, tx, request) => done(tables.acl.deleteTokens(tx, request.TokenIDs)),
  ACLPolicySet: (tables, tx, request) => done(tables.acl.setPolicies(tx, request.Policies)),
  ACLPolicyDelete: (tables, tx, request) => done(tables.acl.deletePolicies(tx, request.PolicyIDs)),
  ACLRoleSet: (tables, tx, request) => done(tables.acl.setRoles(tx, request)),
  ACLRoleDelete: (tables, tx, request) => done(tables.acl.deleteRoles(tx, request.RoleIDs)),
  ACLBindingRuleSet: (tables, tx, request) => done(tables.acl.setBindingRules(tx, request.BindingRules)),
  ACLBindingRuleDelete: (tables, tx, request) => done(tables.acl.deleteBindingRules(tx, request.BindingRuleIDs)),
  ACLAuthMethodSet: (tables, tx, request) => done(tables.acl.setAuthMethods(tx, request.AuthMethods)),
  ACLAuthMethodDelete: (tables, tx, request) => done(tables.acl.deleteAuthMethods(tx, request.AuthMethodNames)),
  LegacyACL: (tables, tx, request) => tables.acl.setLegacy(tx, request),
};

/** What a command that returns nothing leaves as its result. */
function done(_nothing: void): null {
  return null;
}

export type AclCommandName = keyof AclCommands;
