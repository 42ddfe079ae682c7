/** `acl role`: named sets of policies and identities. */
import {
  aclFlags,
  aclKinds,
  type AclMeta,
  field,
  grantFlags,
  type Grants,
  grantsOf,
  idFromPrefix,
  idOf,
  links,
  metaFields,
  nodeIdentities,
  orMissing,
  serviceIdentities,
  show,
  shownAclFlags,
} from '../acl.ts';
import { attempt, CliError, command, type FlagSpecs } from '../command.ts';

interface Role extends Grants, AclMeta {
  readonly ID: string;
  readonly Name: string;
  readonly Description: string;
}

/** Width of the names of a role's fields. */
const width = 14;
const fields = [
  ...['ID', 'Name', 'Description', 'Policies', 'ServiceIdentities', 'NodeIdentities'],
  ...['Hash', 'CreateIndex', 'ModifyIndex', 'Namespace'],
];

const whichFlags = {
  id: { kind: 'string', value: 'ID', help: 'ID of the role, or its beginning.' },
  name: { kind: 'string', value: 'NAME', help: 'Name of the role.' },
} as const satisfies FlagSpecs;
const descriptionFlag = {
  description: { kind: 'string', value: 'TEXT', help: 'What the role is for.' },
} as const satisfies FlagSpecs;

function content(role: Role, meta: boolean, indent: string): string {
  return (
    field('Description', role.Description, width, indent) +
    (meta ? metaFields(role, width, indent) : '') +
    links('Policies', role.Policies, indent) +
    serviceIdentities(role.ServiceIdentities, indent) +
    nodeIdentities(role.NodeIdentities, indent)
  );
}

export function formatRole(role: Role, meta: boolean): string {
  return field('ID', role.ID, width) + field('Name', role.Name, width) + content(role, meta, '');
}

function formatListed(role: Role, meta: boolean): string {
  return `${role.Name}:\n${field('ID', role.ID, width, '   ')}${content(role, meta, '   ')}`;
}

const create = command({
  name: 'acl role create',
  summary: 'Make a role',
  description: ['Makes a role of policies and identities.'],
  flags: {
    ...shownAclFlags,
    ...grantFlags,
    ...descriptionFlag,
    name: { kind: 'string', value: 'NAME', help: 'Name of the role. Required.' },
  },
  async run({ io, values, client }) {
    if (!values.name) throw new CliError("Missing require '-name' flag", { usage: true });
    const named = ['policy-name', 'policy-id', 'service-identity', 'node-identity'] as const;
    if (named.every((flag) => values[flag] === undefined)) {
      throw new CliError(
        'Cannot create a role without specifying -policy-name, -policy-id, -service-identity, or -node-identity at least once',
      );
    }
    const agent = client();
    const role = await attempt(
      'Failed to create new role',
      agent.json<Role>('PUT', '/v1/acl/role', {
        body: JSON.stringify({
          Name: values.name,
          Description: values.description ?? '',
          ...(await grantsOf(agent, values)),
        }),
      }),
    );
    show(io, values.format, role, fields, () => formatRole(role, values.meta ?? false));
    return 0;
  },
});

const read = command({
  name: 'acl role read',
  summary: 'Print a role',
  description: ['Prints a role.'],
  flags: { ...shownAclFlags, ...whichFlags },
  async run({ io, values: { id = '', name = '', format, meta = false }, client }) {
    if (id === '' && name === '') throw new CliError('Must specify either the -id or -name parameters');
    const agent = client();
    const [path, what] =
      id === ''
        ? [`/v1/acl/role/name/${name}`, `name "${name}"`]
        : await attempt('Error determining role ID', idFromPrefix(agent, aclKinds.role, id)).then(
            (found) => [`/v1/acl/role/${found}`, `ID "${found}"`] as const,
          );
    const role = await attempt(`Error reading role "${id || name}"`, orMissing(agent.json<Role>('GET', path)));
    if (role === undefined) throw new CliError(`Role not found with ${what}`);
    show(io, format, role, fields, () => formatRole(role, meta));
    return 0;
  },
});

const update = command({
  name: 'acl role update',
  summary: 'Change a role',
  description: ['Adds what is given to what the role has.'],
  flags: {
    ...shownAclFlags,
    ...whichFlags,
    ...grantFlags,
    ...descriptionFlag,
    name: { kind: 'string', value: 'NAME', help: 'New name. Default: the old one.' },
    'no-merge': { kind: 'bool', help: 'Keep nothing: what is not given becomes empty.' },
  },
  async run({ io, values, client }) {
    if (!values.id) throw new CliError('Cannot update a role without specifying the -id parameter');
    const agent = client();
    const noMerge = values['no-merge'] ?? false;
    const ID = await attempt('Error determining role ID', idFromPrefix(agent, aclKinds.role, values.id));
    const before = await attempt(
      'Error when retrieving current role',
      orMissing(agent.json<Role>('GET', `/v1/acl/role/${ID}`)),
    );
    if (before === undefined) throw new CliError(`Role not found with ID "${ID}"`);
    const grants = await grantsOf(agent, values, before, { policies: !noMerge, services: !noMerge, nodes: !noMerge });
    const role = await attempt(
      `Error updating role "${ID}"`,
      agent.json<Role>('PUT', `/v1/acl/role/${ID}`, {
        body: JSON.stringify({
          ID,
          Name: values.name || (noMerge ? '' : before.Name),
          Description: values.description || (noMerge ? '' : before.Description),
          ...grants,
        }),
      }),
    );
    show(io, values.format, role, fields, () => formatRole(role, values.meta ?? false));
    return 0;
  },
});

const remove = command({
  name: 'acl role delete',
  summary: 'Delete a role',
  description: ['Deletes a role; tokens that have it lose it.'],
  flags: { ...aclFlags, ...whichFlags },
  async run({ values: { id = '', name = '' }, out, client }) {
    if (id === '' && name === '') throw new CliError('Must specify the -id or -name parameters');
    const agent = client();
    const found = await idOf(agent, aclKinds.role, id, name);
    await attempt(`Error deleting role "${found}"`, agent.ok('DELETE', `/v1/acl/role/${found}`));
    out(`Role "${found}" deleted successfully`);
    return 0;
  },
});

const list = command({
  name: 'acl role list',
  summary: 'List the roles',
  description: ['Prints all roles.'],
  flags: shownAclFlags,
  async run({ io, values, client }) {
    const roles = await attempt(
      'Failed to retrieve the role list',
      client().json<readonly Role[]>('GET', '/v1/acl/roles', { query: { stale: values.stale } }),
    );
    show(io, values.format, roles, fields, () =>
      roles.map((role) => formatListed(role, values.meta ?? false)).join(''),
    );
    return 0;
  },
});

export const aclRole = [create, read, update, remove, list];
