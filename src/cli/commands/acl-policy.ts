/** `acl policy`: named sets of rules. */
import {
  aclFlags,
  aclKinds,
  type AclMeta,
  field,
  idOf,
  legacyRules,
  loadText,
  metaFields,
  show,
  shownAclFlags,
} from '../acl.ts';
import { attempt, CliError, command, type FlagSpecs } from '../command.ts';

interface Policy extends AclMeta {
  readonly ID: string;
  readonly Name: string;
  readonly Description: string;
  readonly Rules?: string;
  readonly Datacenters?: readonly string[] | null;
}

/** Width of the names of a policy's fields. */
const width = 14;
const fields = ['ID', 'Name', 'Description', 'Rules', 'Datacenters', 'Hash', 'CreateIndex', 'ModifyIndex', 'Namespace'];

const whichFlags = {
  id: { kind: 'string', value: 'ID', help: 'ID of the policy, or its beginning.' },
  name: { kind: 'string', value: 'NAME', help: 'Name of the policy.' },
} as const satisfies FlagSpecs;
const contentFlags = {
  description: { kind: 'string', value: 'TEXT', help: 'What the policy is for.' },
  rules: {
    kind: 'string',
    value: 'RULES',
    help: 'The rules; "-" reads them from standard input, "@FILE" from a file.',
  },
  'valid-datacenter': {
    kind: 'list',
    value: 'DC',
    help: 'Datacenter where it is valid. May be given several times. Default: all.',
  },
} as const satisfies FlagSpecs;

/** JSON says `null` where the API says nothing. */
function withDatacenters(policy: Policy): Policy {
  return { ...policy, Datacenters: policy.Datacenters ?? null };
}

function datacenters({ Datacenters }: Policy): string {
  return (Datacenters ?? []).join(', ');
}

/** A policy with its rules. */
export function formatPolicy(policy: Policy, meta: boolean): string {
  return (
    field('ID', policy.ID, width) +
    field('Name', policy.Name, width) +
    field('Description', policy.Description, width) +
    field('Datacenters', datacenters(policy), width) +
    (meta ? metaFields(policy, width) : '') +
    `Rules:\n${policy.Rules ?? ''}`
  );
}

function formatListed(policy: Policy, meta: boolean): string {
  const indent = '   ';
  return (
    `${policy.Name}:\n` +
    field('ID', policy.ID, width, indent) +
    field('Description', policy.Description, width, indent) +
    field('Datacenters', datacenters(policy), width, indent) +
    (meta ? metaFields(policy, width, indent) : '')
  );
}

const create = command({
  name: 'acl policy create',
  summary: 'Make a policy',
  description: ['Makes a policy of rules, or of those of a legacy token.'],
  flags: {
    ...shownAclFlags,
    ...contentFlags,
    name: { kind: 'string', value: 'NAME', help: 'Name of the policy. Required.' },
    'from-token': {
      kind: 'string',
      value: 'ID',
      help: 'Take over the rules of this legacy token: its accessor ID, or the beginning of it.',
    },
    'token-secret': { kind: 'bool', help: '-from-token is a secret ID.' },
  },
  async run({ io, values, client }) {
    if (!values.name) throw new CliError("Missing require '-name' flag", { usage: true });
    const from = values['from-token'];
    if (from && values.rules) throw new CliError('Error loading rules: Cannot specify both -rules and -from-token');
    const agent = client();
    const Rules = from
      ? await attempt(
          'Error loading rules',
          legacyRules(agent, await loadText('Error loading rules', from, io), values['token-secret'] ?? false),
        )
      : await loadText('Error loading rules', values.rules ?? '', io);
    const policy = await attempt(
      'Failed to create new policy',
      agent.json<Policy>('PUT', '/v1/acl/policy', {
        body: JSON.stringify({
          Name: values.name,
          Description: values.description ?? '',
          Datacenters: values['valid-datacenter'],
          Rules,
        }),
      }),
    );
    show(io, values.format, withDatacenters(policy), fields, () => formatPolicy(policy, values.meta ?? false));
    return 0;
  },
});

const read = command({
  name: 'acl policy read',
  summary: 'Print a policy',
  description: ['Prints a policy with its rules.'],
  flags: { ...shownAclFlags, ...whichFlags },
  async run({ io, values: { id = '', name = '', format, meta = false }, client }) {
    if (id === '' && name === '') throw new CliError('Must specify either the -id or -name parameters');
    const agent = client();
    const found = await idOf(agent, aclKinds.policy, id, name);
    const policy = await attempt(
      `Error reading policy "${found}"`,
      agent.json<Policy>('GET', `/v1/acl/policy/${found}`),
    );
    show(io, format, withDatacenters(policy), fields, () => formatPolicy(policy, meta));
    return 0;
  },
});

const update = command({
  name: 'acl policy update',
  summary: 'Change a policy',
  description: ['Changes what is given and keeps the rest. With -id, -name is the new name.'],
  flags: {
    ...shownAclFlags,
    ...whichFlags,
    ...contentFlags,
    'no-merge': { kind: 'bool', help: 'Do not keep the rest: what is not given becomes empty.' },
  },
  async run({ io, values, client }) {
    const { id = '', name = '', 'no-merge': noMerge = false } = values;
    if (id === '' && name === '') throw new CliError('Must specify either the -id or -name parameters');
    const agent = client();
    const ID = await idOf(agent, aclKinds.policy, id, name);
    const Rules = await loadText('Error loading rules', values.rules ?? '', io);
    const before = noMerge
      ? undefined
      : await attempt(`Error reading policy "${ID}"`, agent.json<Policy>('GET', `/v1/acl/policy/${ID}`));
    const policy = await attempt(
      `Error updating policy "${ID}"`,
      agent.json<Policy>('PUT', `/v1/acl/policy/${ID}`, {
        body: JSON.stringify({
          ID,
          Name: name || before?.Name,
          Description: values.description || (before?.Description ?? ''),
          Rules: Rules || (before?.Rules ?? ''),
          Datacenters: values['valid-datacenter'] ?? before?.Datacenters,
        }),
      }),
    );
    show(io, values.format, withDatacenters(policy), fields, () => formatPolicy(policy, values.meta ?? false));
    return 0;
  },
});

const remove = command({
  name: 'acl policy delete',
  summary: 'Delete a policy',
  description: ['Deletes a policy; tokens and roles that have it lose it.'],
  flags: { ...aclFlags, ...whichFlags },
  async run({ values: { id = '', name = '' }, out, client }) {
    if (id === '' && name === '') throw new CliError('Must specify either the -id or -name parameters');
    const agent = client();
    const found = await idOf(agent, aclKinds.policy, id, name);
    await attempt(`Error deleting policy "${found}"`, agent.ok('DELETE', `/v1/acl/policy/${found}`));
    out(`Policy "${found}" deleted successfully`);
    return 0;
  },
});

const list = command({
  name: 'acl policy list',
  summary: 'List the policies',
  description: ['Prints all policies, without their rules.'],
  flags: shownAclFlags,
  async run({ io, values, client }) {
    const policies = await attempt(
      'Failed to retrieve the policy list',
      client().json<readonly Policy[]>('GET', '/v1/acl/policies', { query: { stale: values.stale } }),
    );
    show(io, values.format, policies.map(withDatacenters), fields, () =>
      policies.map((policy) => formatListed(policy, values.meta ?? false)).join(''),
    );
    return 0;
  },
});

export const aclPolicy = [create, read, update, remove, list];
