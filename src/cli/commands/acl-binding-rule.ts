/** `acl binding-rule`: what those who log in by an auth method may do. */
import {
  aclFlags,
  aclKinds,
  type AclMeta,
  field,
  idFromPrefix,
  metaFields,
  orMissing,
  show,
  shownAclFlags,
} from '../acl.ts';
import { attempt, CliError, command, type FlagSpecs } from '../command.ts';

interface BindingRule extends AclMeta {
  readonly ID: string;
  readonly AuthMethod: string;
  readonly Description: string;
  readonly BindType: string;
  readonly BindName: string;
  readonly Selector: string;
}

/** Width of the names of a rule's fields. */
const width = 14;
const fields = [
  ...['ID', 'Description', 'AuthMethod', 'Selector', 'BindType', 'BindName'],
  ...['CreateIndex', 'ModifyIndex', 'Namespace'],
];

const idFlag = {
  id: { kind: 'string', value: 'ID', help: 'ID of the rule, or its beginning.' },
} as const satisfies FlagSpecs;
const contentFlags = {
  description: { kind: 'string', value: 'TEXT', help: 'What the rule is for.' },
  'bind-type': { kind: 'string', value: 'service|role', help: 'What -bind-name names. Default service.' },
  'bind-name': { kind: 'string', value: 'NAME', help: 'Service or role to grant; may hold ${VARIABLE}.' },
  selector: { kind: 'string', value: 'EXPRESSION', help: 'Whom the rule is for. Default: everybody.' },
} as const satisfies FlagSpecs;

function content(rule: BindingRule, meta: boolean, indent = ''): string {
  return (
    field('AuthMethod', rule.AuthMethod, width, indent) +
    field('Description', rule.Description, width, indent) +
    field('BindType', rule.BindType, width, indent) +
    field('BindName', rule.BindName, width, indent) +
    field('Selector', rule.Selector, width, indent) +
    (meta ? metaFields(rule, width, indent) : '')
  );
}

export function formatBindingRule(rule: BindingRule, meta: boolean): string {
  return field('ID', rule.ID, width) + content(rule, meta);
}

const create = command({
  name: 'acl binding-rule create',
  summary: 'Make a binding rule',
  description: ['Makes a rule that grants something to those who log in by an auth method.'],
  flags: {
    ...shownAclFlags,
    ...contentFlags,
    method: { kind: 'string', value: 'NAME', help: 'The auth method. Required.' },
  },
  async run({ io, values, client }) {
    if (!values.method) throw new CliError("Missing required '-method' flag", { usage: true });
    if (!values['bind-name']) throw new CliError("Missing required '-bind-name' flag", { usage: true });
    const rule = await attempt(
      'Failed to create new binding rule',
      client().json<BindingRule>('PUT', '/v1/acl/binding-rule', {
        body: JSON.stringify({
          AuthMethod: values.method,
          Description: values.description ?? '',
          BindType: values['bind-type'] ?? 'service',
          BindName: values['bind-name'],
          Selector: values.selector ?? '',
        }),
      }),
    );
    show(io, values.format, rule, fields, () => formatBindingRule(rule, values.meta ?? false));
    return 0;
  },
});

const read = command({
  name: 'acl binding-rule read',
  summary: 'Print a binding rule',
  description: ['Prints a binding rule.'],
  flags: { ...shownAclFlags, ...idFlag },
  async run({ io, values, client }) {
    if (!values.id) throw new CliError('Must specify the -id parameter.');
    const agent = client();
    const id = await attempt('Error determining binding rule ID', idFromPrefix(agent, aclKinds.rule, values.id));
    const rule = await attempt(
      `Error reading binding rule "${id}"`,
      orMissing(agent.json<BindingRule>('GET', `/v1/acl/binding-rule/${id}`)),
    );
    if (rule === undefined) throw new CliError(`Binding rule not found with ID "${id}"`);
    show(io, values.format, rule, fields, () => formatBindingRule(rule, values.meta ?? false));
    return 0;
  },
});

const update = command({
  name: 'acl binding-rule update',
  summary: 'Change a binding rule',
  description: ['Changes what is given and keeps the rest.'],
  flags: {
    ...shownAclFlags,
    ...idFlag,
    ...contentFlags,
    'no-merge': { kind: 'bool', help: 'Do not keep the rest: what is not given becomes empty.' },
  },
  async run({ io, values, client }) {
    if (!values.id) throw new CliError('Cannot update a binding rule without specifying the -id parameter');
    const agent = client();
    const ID = await attempt('Error determining binding rule ID', idFromPrefix(agent, aclKinds.rule, values.id));
    const found = await attempt(
      'Error when retrieving current binding rule',
      orMissing(agent.json<BindingRule>('GET', `/v1/acl/binding-rule/${ID}`)),
    );
    if (found === undefined) throw new CliError(`Binding rule not found with ID "${ID}"`);
    const before: Partial<BindingRule> = values['no-merge'] ? {} : found;
    if (values['no-merge'] && !values['bind-name']) throw new CliError("Missing required '-bind-name' flag");
    const rule = await attempt(
      `Error updating binding rule "${ID}"`,
      agent.json<BindingRule>('PUT', `/v1/acl/binding-rule/${ID}`, {
        body: JSON.stringify({
          ID,
          AuthMethod: found.AuthMethod,
          Description: values.description || (before.Description ?? ''),
          BindType: values['bind-type'] || (before.BindType ?? 'service'),
          BindName: values['bind-name'] || (before.BindName ?? ''),
          Selector: values.selector || (before.Selector ?? ''),
        }),
      }),
    );
    show(io, values.format, rule, fields, () => formatBindingRule(rule, values.meta ?? false));
    return 0;
  },
});

const remove = command({
  name: 'acl binding-rule delete',
  summary: 'Delete a binding rule',
  description: ['Deletes a binding rule; tokens that it gave something keep it.'],
  flags: { ...aclFlags, ...idFlag },
  async run({ values, out, client }) {
    if (!values.id) throw new CliError('Must specify the -id parameter');
    const agent = client();
    const id = await attempt('Error determining binding rule ID', idFromPrefix(agent, aclKinds.rule, values.id));
    await attempt(`Error deleting binding rule "${id}"`, agent.ok('DELETE', `/v1/acl/binding-rule/${id}`));
    out(`Binding rule "${id}" deleted successfully`);
    return 0;
  },
});

const list = command({
  name: 'acl binding-rule list',
  summary: 'List the binding rules',
  description: ['Prints all binding rules, or those of one auth method.'],
  flags: { ...shownAclFlags, method: { kind: 'string', value: 'NAME', help: 'Only rules of this auth method.' } },
  async run({ io, values, client }) {
    const rules = await attempt(
      'Failed to retrieve the binding rule list',
      client().json<readonly BindingRule[]>('GET', '/v1/acl/binding-rules', {
        query: { stale: values.stale, ...(values.method && { authmethod: values.method }) },
      }),
    );
    show(io, values.format, rules, fields, () =>
      rules.map((rule) => `${rule.ID}:\n${content(rule, values.meta ?? false, '   ')}`).join(''),
    );
    return 0;
  },
});

export const aclBindingRule = [create, read, update, remove, list];
