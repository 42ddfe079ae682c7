/**
 * The table of commands. A command's name has up to three words; the longest name that fits wins, so `registrator` and
 * `registrator explain` live side by side. What comes before the last word is a group.
 */
import type { Command } from './command.ts';
import type { CompletionNode } from './completion.ts';
import { suggestion } from './suggest.ts';
import { aclAuthMethod } from './commands/acl-auth-method.ts';
import { aclBindingRule } from './commands/acl-binding-rule.ts';
import { aclPolicy } from './commands/acl-policy.ts';
import { aclRole } from './commands/acl-role.ts';
import { aclSetAgentToken } from './commands/acl-set-agent-token.ts';
import { aclBootstrap, aclToken } from './commands/acl-token.ts';
import { aclTranslateRules } from './commands/acl-translate-rules.ts';
import { agent } from './commands/agent.ts';
import { catalogDatacenters } from './commands/catalog-datacenters.ts';
import { catalogNodes } from './commands/catalog-nodes.ts';
import { catalogServices } from './commands/catalog-services.ts';
import { configWrite } from './commands/config-write.ts';
import { connectCa } from './commands/connect-ca.ts';
import { connectProxy } from './commands/connect-proxy.ts';
import { connectExpose } from './commands/connect-expose.ts';
import { debug } from './commands/debug.ts';
import { doctor } from './commands/doctor.ts';
import { exec } from './commands/exec.ts';
import { forceLeave } from './commands/force-leave.ts';
import { health } from './commands/health.ts';
import { info } from './commands/info.ts';
import { join } from './commands/join.ts';
import { keygen } from './commands/keygen.ts';
import { keyring } from './commands/keyring.ts';
import { kvDelete } from './commands/kv-delete.ts';
import { kvExport } from './commands/kv-export.ts';
import { kvGet } from './commands/kv-get.ts';
import { kvImport } from './commands/kv-import.ts';
import { kvPut } from './commands/kv-put.ts';
import { leave } from './commands/leave.ts';
import { lock } from './commands/lock.ts';
import { login } from './commands/login.ts';
import { logout } from './commands/logout.ts';
import { maint } from './commands/maint.ts';
import { members } from './commands/members.ts';
import { monitor } from './commands/monitor.ts';
import { registrator } from './commands/registrator.ts';
import { registratorExplain } from './commands/registrator-explain.ts';
import { reload } from './commands/reload.ts';
import { servicesDeregister } from './commands/services-deregister.ts';
import { servicesRegister } from './commands/services-register.ts';
import { snapshot } from './commands/snapshot.ts';
import { tls } from './commands/tls.ts';
import { validate } from './commands/validate.ts';
import { version } from './commands/version.ts';
import { watch } from './commands/watch.ts';
import { event } from './commands/event.ts';
import { intentionCheck } from './commands/intention-check.ts';
import { intentionCreate } from './commands/intention-create.ts';
import { intentionDelete } from './commands/intention-delete.ts';
import { intentionGet } from './commands/intention-get.ts';
import { intentionMatch } from './commands/intention-match.ts';
import { rtt } from './commands/rtt.ts';
import { completion } from './commands/completion.ts';
import { configDelete } from './commands/config-delete.ts';
import { configList } from './commands/config-list.ts';
import { configRead } from './commands/config-read.ts';
import { operatorAutopilotGetConfig } from './commands/operator-autopilot-get-config.ts';
import { operatorAutopilotSetConfig } from './commands/operator-autopilot-set-config.ts';
import { operatorRaftListPeers } from './commands/operator-raft-list-peers.ts';
import { operatorRaftRemovePeer } from './commands/operator-raft-remove-peer.ts';
import { wrap } from './text.ts';

const commands: readonly Command[] = [
  ...aclAuthMethod,
  ...aclBindingRule,
  ...aclPolicy,
  ...aclRole,
  ...aclToken,
  aclBootstrap,
  aclSetAgentToken,
  aclTranslateRules,
  agent,
  catalogDatacenters,
  catalogNodes,
  catalogServices,
  completion(completionNodes),
  configDelete,
  configList,
  configRead,
  configWrite,
  ...connectCa,
  connectExpose,
  ...connectProxy,
  debug,
  doctor,
  event,
  exec,
  forceLeave,
  health,
  info,
  intentionCheck,
  intentionCreate,
  intentionDelete,
  intentionGet,
  intentionMatch,
  join,
  keygen,
  keyring,
  kvDelete,
  kvExport,
  kvGet,
  kvImport,
  kvPut,
  leave,
  lock,
  login,
  logout,
  maint,
  members,
  monitor,
  operatorAutopilotGetConfig,
  operatorAutopilotSetConfig,
  operatorRaftListPeers,
  operatorRaftRemovePeer,
  registrator,
  registratorExplain,
  reload,
  rtt,
  servicesDeregister,
  servicesRegister,
  ...snapshot,
  ...tls,
  validate,
  version,
  watch,
];

/** First words that are no commands themselves. */
const groups: Readonly<Record<string, { readonly summary: string; readonly description: string }>> = {
  acl: {
    summary: 'Manage tokens, policies and logins',
    description: 'Manages access control: tokens and the policies and roles that say what they may do, and logins.',
  },
  'acl auth-method': { summary: 'Whose word is taken at a login', description: 'Manages auth methods.' },
  'acl binding-rule': { summary: 'What a login grants', description: 'Manages binding rules.' },
  'acl policy': { summary: 'Named sets of rules', description: 'Manages policies.' },
  'acl role': { summary: 'Named sets of policies', description: 'Manages roles.' },
  'acl token': { summary: 'Tokens', description: 'Manages tokens.' },
  catalog: {
    summary: 'Ask the catalog',
    description: 'Asks the catalog, the list of everything that is registered in a datacenter.',
  },
  config: {
    summary: 'Read, write and delete config entries',
    description: 'Reads, writes and deletes config entries: settings of services and gateways for the whole cluster.',
  },
  connect: {
    summary: 'Look after the service mesh',
    description: 'Manages the certificate authority and the gateways of the service mesh.',
  },
  'connect ca': { summary: 'The certificate authority', description: 'Manages the certificate authority of the mesh.' },
  intention: {
    summary: 'Say which service may talk to which',
    description: 'Manages intentions: which service may open connections to which, through the mesh.',
  },
  kv: { summary: 'Read and write the key-value store', description: 'Reads and writes the key-value store.' },
  operator: {
    summary: 'Look after the servers',
    description: 'For those who run the servers: the Raft configuration and autopilot.',
  },
  'operator autopilot': { summary: "Autopilot's settings", description: "Prints and changes autopilot's settings." },
  'operator raft': { summary: 'The Raft configuration', description: 'Shows and mends the Raft configuration.' },
  snapshot: {
    summary: 'Save and restore the state of the servers',
    description: 'Saves all state of the servers into a file, inspects such files, and restores them.',
  },
  tls: {
    summary: 'Make certificates for agents',
    description: 'Makes a certificate authority, and certificates for agents. Needs no agent.',
  },
  'tls ca': { summary: 'The certificate authority', description: 'Makes a certificate authority.' },
  'tls cert': { summary: 'Certificates', description: 'Makes certificates.' },
  services: {
    summary: 'Register services with the agent',
    description: 'Registers services with the agent, and removes them.',
  },
};

export type Found =
  | { readonly kind: 'command'; readonly command: Command; readonly argv: readonly string[] }
  | { readonly kind: 'group'; readonly help: string; readonly hint: string }
  | { readonly kind: 'unknown'; readonly hint: string };

/** Most words a command's name has. */
const nameWordsMax = 3;

/** What the words of a command line mean. */
export function findCommand(argv: readonly string[]): Found {
  for (let words = Math.min(nameWordsMax, argv.length); words > 0; words--) {
    const name = argv.slice(0, words).join(' ');
    const command = commands.find((one) => one.name === name);
    if (command) return { kind: 'command', command, argv: argv.slice(words) };
    if (Object.hasOwn(groups, name)) return { kind: 'group', help: groupHelp(name), hint: hintFor(name, argv[words]) };
  }
  return { kind: 'unknown', hint: hintFor('', argv[0]) };
}

/** What the word behind `group` may have been meant to be; "" when nothing is near. */
function hintFor(group: string, word: string | undefined): string {
  if (word === undefined || word.startsWith('-')) return '';
  const meant = suggestion(
    word,
    subcommands(group).map(([name]) => name),
  );
  return meant === undefined ? '' : `\nDid you mean "portolan ${group === '' ? '' : `${group} `}${meant}"?\n`;
}

/** What may follow each command and group, for completion. */
export function completionNodes(): readonly CompletionNode[] {
  const names = new Set(['', ...Object.keys(groups), ...commands.map(({ name }) => name)]);
  return [...names].sort().map((name) => ({
    name,
    words: subcommands(name),
    flags: commands.find((one) => one.name === name)?.flags ?? [],
  }));
}

function groupHelp(name: string): string {
  return [
    `Usage: portolan ${name} <subcommand> [options] [args]`,
    '',
    ...wrap(groups[name]!.description, 2),
    '',
    'Subcommands:',
    '',
    ...list(subcommands(name)),
  ].join('\n');
}

/** What may follow `group` ("" = the program), with summaries, by name. */
function subcommands(group: string): readonly (readonly [string, string])[] {
  const prefix = group === '' ? '' : `${group} `;
  return [
    ...commands.map(({ name, summary }) => [name, summary] as const),
    ...Object.entries(groups).map(([name, { summary }]) => [name, summary] as const),
  ]
    .filter(([name]) => name.startsWith(prefix) && !name.slice(prefix.length).includes(' '))
    .map(([name, summary]) => [name.slice(prefix.length), summary] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

/** What is printed when nobody says what to do. */
export function overview(): string {
  return [
    'Usage: portolan [--version] [--help] <command> [<args>]',
    '',
    'Available commands are:',
    ...list(subcommands('')),
  ].join('\n');
}

function list(entries: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...entries.map(([name]) => name.length));
  return entries.map(([name, summary]) => `    ${name.padEnd(width)}    ${summary}`);
}
