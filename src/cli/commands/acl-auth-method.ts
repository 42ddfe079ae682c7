/** `acl auth-method`: whose word is taken for who logs in. */
import { formatGoDurationMs, parseGoJson } from '../../codec/index.ts';
import { aclFlags, type AclMeta, field, loadText, metaFields, orMissing, show, shownAclFlags } from '../acl.ts';
import { attempt, CliError, type CliIo, command, type FlagSpecs } from '../command.ts';
import { indentedJson } from '../json.ts';

interface AuthMethod extends AclMeta {
  readonly Name: string;
  readonly Type: string;
  readonly DisplayName?: string;
  readonly Description: string;
  readonly MaxTokenTTL?: string;
  readonly TokenLocality?: string;
  readonly Config?: Readonly<Record<string, unknown>> | null;
}

/** Widths of the names of a method's fields, alone and in a list. */
const width = 15;
const listWidth = 14;
const fields = [
  ...['MaxTokenTTL', 'Name', 'Type', 'DisplayName', 'Description', 'TokenLocality', 'Config'],
  ...['CreateIndex', 'ModifyIndex', 'Namespace'],
];

const nameFlag = {
  name: { kind: 'string', value: 'NAME', help: 'Name of the auth method. Required.' },
} as const satisfies FlagSpecs;
const contentFlags = {
  description: { kind: 'string', value: 'TEXT', help: 'What the method is for.' },
  'display-name': { kind: 'string', value: 'NAME', help: 'Name to show in a UI.' },
  'max-token-ttl': { kind: 'duration', value: 'DURATION', help: 'Life of the tokens it makes. Default: no end.' },
  'token-locality': { kind: 'string', value: 'local|global', help: 'Where its tokens are valid. Default local.' },
  config: { kind: 'string', value: 'JSON', help: 'Settings of the type; "-" reads standard input, "@FILE" a file.' },
  'kubernetes-host': { kind: 'string', value: 'URL', help: 'For kubernetes: the API server. Required.' },
  'kubernetes-ca-cert': {
    kind: 'string',
    value: 'PEM',
    help: 'For kubernetes: authority of the API server, or "@FILE". Required.',
  },
  'kubernetes-service-account-jwt': {
    kind: 'string',
    value: 'JWT',
    help: 'For kubernetes: token of a service account that may review tokens. Required.',
  },
} as const satisfies FlagSpecs;

const kubernetesFlags = [
  ['kubernetes-host', 'Host'],
  ['kubernetes-ca-cert', 'CACert'],
  ['kubernetes-service-account-jwt', 'ServiceAccountJWT'],
] as const;

export function formatAuthMethod(method: AuthMethod, meta: boolean): string {
  return (
    field('Name', method.Name, width) +
    field('Type', method.Type, width) +
    (method.DisplayName ? field('DisplayName', method.DisplayName, width) : '') +
    field('Description', method.Description, width) +
    (method.MaxTokenTTL ? field('MaxTokenTTL', method.MaxTokenTTL, width) : '') +
    (method.TokenLocality ? field('TokenLocality', method.TokenLocality, width) : '') +
    (meta ? metaFields(method, width) : '') +
    `Config:\n${indentedJson(method.Config ?? null, '  ')}`
  );
}

function formatListed(method: AuthMethod, meta: boolean): string {
  const indent = '   ';
  return (
    `${method.Name}:\n` +
    field('Type', method.Type, listWidth, indent) +
    (method.DisplayName ? field('DisplayName', method.DisplayName, listWidth, indent) : '') +
    field('Description', method.Description, listWidth, indent) +
    (meta ? metaFields(method, listWidth, indent) : '')
  );
}

type ContentValues = { readonly [F in keyof typeof contentFlags]?: string | number };

/** The settings that `-config` holds, undefined without it. @throws CliError */
async function configOf(io: CliIo, text: string | undefined): Promise<unknown> {
  if (!text) return undefined;
  const json = await loadText('Error loading configuration file', text, io);
  try {
    return parseGoJson(json);
  } catch (error) {
    throw new CliError(`Error parsing JSON configuration file: ${(error as Error).message}`, { cause: error });
  }
}

async function kubernetesConfig(io: CliIo, values: ContentValues): Promise<Readonly<Record<string, string>>> {
  const certificate = String(values['kubernetes-ca-cert'] ?? '');
  return {
    Host: String(values['kubernetes-host'] ?? ''),
    CACert: certificate === '' ? '' : await loadText("Invalid '-kubernetes-ca-cert' value", certificate, io),
    ServiceAccountJWT: String(values['kubernetes-service-account-jwt'] ?? ''),
  };
}

function ttl(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : formatGoDurationMs(ms);
}

const create = command({
  name: 'acl auth-method create',
  summary: 'Make an auth method',
  description: ['Makes an auth method: whose word is taken for who logs in.'],
  flags: {
    ...shownAclFlags,
    ...nameFlag,
    ...contentFlags,
    type: { kind: 'string', value: 'TYPE', help: 'jwt or kubernetes. Required.' },
  },
  async run({ io, values, client }) {
    if (!values.type) throw new CliError("Missing required '-type' flag", { usage: true });
    if (!values.name) throw new CliError("Missing required '-name' flag", { usage: true });
    if (values.type === 'kubernetes') {
      for (const [flag] of kubernetesFlags) if (!values[flag]) throw new CliError(`Missing required '-${flag}' flag`);
    }
    const Config =
      values.type === 'kubernetes' ? await kubernetesConfig(io, values) : await configOf(io, values.config);
    const method = await attempt(
      'Failed to create new auth method',
      client().json<AuthMethod>('PUT', '/v1/acl/auth-method', {
        body: JSON.stringify({
          Name: values.name,
          Type: values.type,
          Description: values.description ?? '',
          DisplayName: values['display-name'],
          MaxTokenTTL: ttl(values['max-token-ttl']),
          TokenLocality: values['token-locality'],
          Config: Config ?? {},
        }),
      }),
    );
    show(io, values.format, method, fields, () => formatAuthMethod(method, values.meta ?? false));
    return 0;
  },
});

const read = command({
  name: 'acl auth-method read',
  summary: 'Print an auth method',
  description: ['Prints an auth method with its settings.'],
  flags: { ...shownAclFlags, ...nameFlag },
  async run({ io, values, client }) {
    if (!values.name) throw new CliError('Must specify the -name parameter');
    const method = await attempt(
      `Error reading auth method "${values.name}"`,
      orMissing(client().json<AuthMethod>('GET', `/v1/acl/auth-method/${values.name}`)),
    );
    if (method === undefined) throw new CliError(`Auth method not found with name "${values.name}"`);
    show(io, values.format, method, fields, () => formatAuthMethod(method, values.meta ?? false));
    return 0;
  },
});

const update = command({
  name: 'acl auth-method update',
  summary: 'Change an auth method',
  description: ['Changes what is given and keeps the rest.'],
  flags: {
    ...shownAclFlags,
    ...nameFlag,
    ...contentFlags,
    'no-merge': { kind: 'bool', help: 'Do not keep the rest: what is not given becomes empty.' },
  },
  async run({ io, values, client }) {
    const { name } = values;
    if (!name) throw new CliError('Cannot update an auth method without specifying the -name parameter');
    const agent = client();
    const found = await attempt(
      'Error when retrieving current auth method',
      orMissing(agent.json<AuthMethod>('GET', `/v1/acl/auth-method/${name}`)),
    );
    if (found === undefined) throw new CliError(`Auth method not found with name "${name}"`);
    const before: Partial<AuthMethod> = values['no-merge'] ? {} : found;
    const kubernetes = found.Type === 'kubernetes' ? await kubernetesConfig(io, values) : {};
    const given = Object.fromEntries(Object.entries(kubernetes).filter(([, value]) => value !== ''));
    const method = await attempt(
      `Error updating auth method "${name}"`,
      agent.json<AuthMethod>('PUT', `/v1/acl/auth-method/${name}`, {
        body: JSON.stringify({
          Name: name,
          Type: found.Type,
          Description: values.description || (before.Description ?? ''),
          DisplayName: values['display-name'] || before.DisplayName,
          MaxTokenTTL: ttl(values['max-token-ttl']) ?? before.MaxTokenTTL,
          TokenLocality: values['token-locality'] || before.TokenLocality,
          Config: { ...((await configOf(io, values.config)) ?? before.Config), ...given },
        }),
      }),
    );
    show(io, values.format, method, fields, () => formatAuthMethod(method, values.meta ?? false));
    return 0;
  },
});

const remove = command({
  name: 'acl auth-method delete',
  summary: 'Delete an auth method',
  description: ['Deletes an auth method with its binding rules and the tokens that it made.'],
  flags: { ...aclFlags, ...nameFlag },
  async run({ values: { name = '' }, out, client }) {
    if (name === '') throw new CliError('Must specify the -name parameter');
    await attempt(`Error deleting auth method "${name}"`, client().ok('DELETE', `/v1/acl/auth-method/${name}`));
    out(`Auth method "${name}" deleted successfully`);
    return 0;
  },
});

const list = command({
  name: 'acl auth-method list',
  summary: 'List the auth methods',
  description: ['Prints all auth methods, without their settings.'],
  flags: shownAclFlags,
  async run({ io, values, client }) {
    const methods = await attempt(
      'Failed to retrieve the auth method list',
      client().json<readonly AuthMethod[]>('GET', '/v1/acl/auth-methods', { query: { stale: values.stale } }),
    );
    show(io, values.format, methods, fields, () =>
      methods.map((method) => formatListed(method, values.meta ?? false)).join(''),
    );
    return 0;
  },
});

export const aclAuthMethod = [create, read, update, remove, list];
