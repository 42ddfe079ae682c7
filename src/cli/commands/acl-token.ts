/** `acl token`: tokens by their accessor IDs. */
import {
  aclFlags,
  type AclLink,
  type AclMeta,
  aclKinds,
  field,
  goTime,
  grantFlags,
  type Grants,
  grantsOf,
  idFromPrefix,
  links,
  linksOf,
  mergeBy,
  metaFields,
  nodeIdentities,
  serviceIdentities,
  show,
  shownAclFlags,
} from '../acl.ts';
import { attempt, CliError, command, type FlagSpecs } from '../command.ts';

interface Token extends Grants, AclMeta {
  readonly AccessorID: string;
  readonly SecretID?: string;
  readonly Description: string;
  readonly Roles?: readonly AclLink[] | null;
  readonly Local: boolean;
  readonly AuthMethod?: string;
  readonly ExpirationTime?: string | null;
  readonly CreateTime: string;
  readonly Rules?: string;
  readonly Legacy?: boolean;
}

/** Width of the names of a token's fields. */
const width = 18;

const grantFields = ['Policies', 'Roles', 'ServiceIdentities', 'NodeIdentities', 'Local', 'AuthMethod'];
const fields = [
  ...['CreateIndex', 'ModifyIndex', 'AccessorID', 'SecretID', 'Description'],
  ...grantFields,
  ...['ExpirationTTL', 'ExpirationTime', 'CreateTime', 'Hash', 'Rules', 'Namespace'],
];
const listFields = [
  ...['CreateIndex', 'ModifyIndex', 'AccessorID', 'Description'],
  ...grantFields,
  ...['ExpirationTime', 'CreateTime', 'Hash', 'Legacy', 'Namespace'],
];

const idFlag = {
  id: { kind: 'string', value: 'ID', help: 'Accessor ID of the token, or its beginning.' },
} as const satisfies FlagSpecs;
const roleFlags = {
  'role-id': { kind: 'list', value: 'ID', help: 'Role to give, by ID or its beginning. May be given several times.' },
  'role-name': { kind: 'list', value: 'NAME', help: 'Role to give, by name. May be given several times.' },
} as const satisfies FlagSpecs;

/** The fields above the lists. */
function head(token: Token, meta: boolean, isListed: boolean): string {
  return (
    field('AccessorID', token.AccessorID, width) +
    (isListed ? '' : field('SecretID', token.SecretID ?? '', width)) +
    field('Description', token.Description, width) +
    field('Local', token.Local, width) +
    (token.AuthMethod ? field('Auth Method', token.AuthMethod, width) : '') +
    field('Create Time', goTime(token.CreateTime), width) +
    (token.ExpirationTime ? field('Expiration Time', goTime(token.ExpirationTime), width) : '') +
    (isListed ? field('Legacy', token.Legacy ?? false, width) : '') +
    (meta ? metaFields(token, width) : '')
  );
}

/** A token with its secret. */
export function formatToken(token: Token, meta: boolean): string {
  return (
    head(token, meta, false) +
    links('Policies', token.Policies) +
    links('Roles', token.Roles) +
    serviceIdentities(token.ServiceIdentities) +
    nodeIdentities(token.NodeIdentities) +
    (token.Rules ? `Rules:\n${token.Rules}` : '')
  );
}

/** As in `acl token list`, where 1.8.7 says service identities twice and node identities never (reference/agent.md §1.5). */
function formatListed(token: Token, meta: boolean): string {
  return (
    head(token, meta, true) +
    links('Policies', token.Policies) +
    links('Roles', token.Roles) +
    serviceIdentities(token.ServiceIdentities) +
    serviceIdentities(token.ServiceIdentities)
  );
}

export const aclBootstrap = command({
  name: 'acl bootstrap',
  summary: 'Make the first management token',
  description: ['Makes the first token of the ACL system, once, and prints it with its secret.'],
  flags: shownAclFlags,
  async run({ io, values, client }) {
    const token = await attempt('Failed ACL bootstrapping', client().json<Token>('PUT', '/v1/acl/bootstrap'));
    show(io, values.format, token, fields, () => formatToken(token, values.meta ?? false));
    return 0;
  },
});

const create = command({
  name: 'acl token create',
  summary: 'Make a token',
  description: [
    'Makes a token that may do what its policies, roles and identities say, and prints it with its secret.',
  ],
  flags: {
    ...shownAclFlags,
    ...grantFlags,
    ...roleFlags,
    accessor: { kind: 'string', value: 'ID', help: 'Accessor ID (UUID). Default: a random one.' },
    secret: { kind: 'string', value: 'ID', help: 'Secret ID (UUID). Default: a random one.' },
    description: { kind: 'string', value: 'TEXT', help: 'What the token is for.' },
    local: { kind: 'bool', help: 'Valid in this datacenter only.' },
    'expires-ttl': { kind: 'duration', value: 'DURATION', help: 'Time after which the token expires. Default never.' },
  },
  async run({ io, values, client }) {
    const agent = client();
    const named = ['policy-name', 'policy-id', 'role-name', 'role-id', 'service-identity', 'node-identity'] as const;
    if (named.every((flag) => values[flag] === undefined)) {
      throw new CliError(
        'Cannot create a token without specifying -policy-name, -policy-id, -role-name, -role-id, -service-identity, or -node-identity at least once',
      );
    }
    const token = await attempt(
      'Failed to create new token',
      agent.json<Token>('PUT', '/v1/acl/token', {
        body: JSON.stringify({
          AccessorID: values.accessor,
          SecretID: values.secret,
          Description: values.description ?? '',
          ...(await grantsOf(agent, values)),
          Roles: await linksOf(agent, aclKinds.role, values['role-name'], values['role-id']),
          Local: values.local ?? false,
          ...(values['expires-ttl'] && { ExpirationTTL: values['expires-ttl'] * 1e6 }),
        }),
      }),
    );
    show(io, values.format, token, fields, () => formatToken(token, values.meta ?? false));
    return 0;
  },
});

const read = command({
  name: 'acl token read',
  summary: 'Print a token',
  description: ['Prints a token with its secret.'],
  flags: { ...shownAclFlags, ...idFlag, self: { kind: 'bool', help: 'The token with which you ask.' } },
  async run({ io, values, client }) {
    const agent = client();
    let token: Token;
    if (values.self) token = await attempt('Error reading token', agent.json<Token>('GET', '/v1/acl/token/self'));
    else {
      if (!values.id) throw new CliError('Must specify the -id parameter');
      const id = await attempt('Error determining token ID', idFromPrefix(agent, aclKinds.token, values.id));
      token = await attempt(`Error reading token "${id}"`, agent.json<Token>('GET', `/v1/acl/token/${id}`));
    }
    show(io, values.format, token, fields, () => formatToken(token, values.meta ?? false));
    return 0;
  },
});

const update = command({
  name: 'acl token update',
  summary: 'Change a token',
  description: [
    'Changes a token. What is granted is replaced by what is given here, and what is not given is taken away, unless the -merge flag of its kind is set.',
  ],
  flags: {
    ...shownAclFlags,
    ...grantFlags,
    ...roleFlags,
    ...idFlag,
    description: { kind: 'string', value: 'TEXT', help: 'New description. Default: the old one.' },
    'merge-policies': { kind: 'bool', help: 'Keep the policies that the token has.' },
    'merge-roles': { kind: 'bool', help: 'Keep the roles that the token has.' },
    'merge-service-identities': { kind: 'bool', help: 'Keep the service identities that the token has.' },
    'merge-node-identities': { kind: 'bool', help: 'Keep the node identities that the token has.' },
    'upgrade-legacy': { kind: 'bool', help: 'Drop the rules of a legacy token, which makes it one of the new system.' },
  },
  async run({ io, values, client }) {
    if (!values.id) throw new CliError('Cannot update a token without specifying the -id parameter');
    const agent = client();
    const id = await attempt('Error determining token ID', idFromPrefix(agent, aclKinds.token, values.id));
    const before = await attempt(
      'Error when retrieving current token',
      agent.json<Token>('GET', `/v1/acl/token/${id}`),
    );
    if (values['upgrade-legacy'] && !before.Rules) {
      throw new CliError("Can't use -upgrade-legacy on a non-legacy token");
    }
    const roles = await linksOf(agent, aclKinds.role, values['role-name'], values['role-id']);
    const token = await attempt(
      `Failed to update token ${id}`,
      agent.json<Token>('PUT', `/v1/acl/token/${id}`, {
        body: JSON.stringify({
          ...before,
          CreateIndex: undefined,
          ModifyIndex: undefined,
          Hash: undefined,
          ...(values['upgrade-legacy'] && { Rules: '' }),
          ...(values.description && { Description: values.description }),
          ...(await grantsOf(agent, values, before, {
            policies: values['merge-policies'] ?? false,
            services: values['merge-service-identities'] ?? false,
            nodes: values['merge-node-identities'] ?? false,
          })),
          Roles: values['merge-roles'] ? mergeBy(before.Roles, roles, ['ID', 'Name']) : roles,
        }),
      }),
    );
    show(io, values.format, token, fields, () => formatToken(token, values.meta ?? false));
    return 0;
  },
});

const clone = command({
  name: 'acl token clone',
  summary: 'Make another token with the same rights',
  description: ['Makes a token that may do the same as another one, and prints it with its secret.'],
  flags: {
    ...shownAclFlags,
    ...idFlag,
    description: { kind: 'string', value: 'TEXT', help: 'Description. Default: that of the other token.' },
  },
  async run({ io, values, client }) {
    if (!values.id) throw new CliError('Cannot update a token without specifying the -id parameter');
    const agent = client();
    const id = await attempt('Error determining token ID', idFromPrefix(agent, aclKinds.token, values.id));
    const token = await attempt(
      'Error cloning token',
      agent.json<Token>('PUT', `/v1/acl/token/${id}/clone`, {
        body: JSON.stringify({ Description: values.description ?? '' }),
      }),
    );
    show(io, values.format, token, fields, () => formatToken(token, values.meta ?? false));
    return 0;
  },
});

const remove = command({
  name: 'acl token delete',
  summary: 'Delete a token',
  description: ['Deletes a token; whoever uses it becomes anonymous at once.'],
  flags: { ...aclFlags, ...idFlag },
  async run({ values, out, client }) {
    if (!values.id) throw new CliError('Must specify the -id parameter');
    const agent = client();
    const id = await attempt('Error determining token ID', idFromPrefix(agent, aclKinds.token, values.id));
    await attempt(`Error deleting token "${id}"`, agent.ok('DELETE', `/v1/acl/token/${id}`));
    out(`Token "${id}" deleted successfully`);
    return 0;
  },
});

const list = command({
  name: 'acl token list',
  summary: 'List the tokens',
  description: ['Prints all tokens, without their secrets.'],
  flags: shownAclFlags,
  async run({ io, values, client }) {
    const tokens = await attempt(
      'Failed to retrieve the token list',
      client().json<readonly Token[]>('GET', '/v1/acl/tokens', { query: { stale: values.stale } }),
    );
    const listed = tokens.map((token) => ({ Legacy: false, ...token }));
    show(io, values.format, listed, listFields, () =>
      listed.map((token) => formatListed(token, values.meta ?? false)).join('\n'),
    );
    return 0;
  },
});

export const aclToken = [create, read, update, clone, remove, list];
