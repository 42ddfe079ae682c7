/**
 * Commands as the log has them: one byte that says which, and the request as msgpack. The highest bit of that byte says
 * that who does not know the command may pass it over; without it a server that cannot read a command must stop, because
 * from there on its state would not be the others' (reference/raft.md §4.1).
 */
import { decodeShape, encodeShape, MsgpackError, opt, record, type Shape, shapes, text } from '../codec/index.ts';
import {
  aclAuthMethod,
  aclBindingRule,
  aclPolicy,
  aclRole,
  aclToken,
  autopilotSetConfig,
  caLeafRequest,
  caRequest,
  configEntryRequest,
  deregisterRequest,
  federationStateRequest,
  intentionRequest,
  kvsRequest,
  legacyAclRequest,
  nodeCoordinate,
  preparedQueryRequest,
  registerRequest,
  sessionRequest,
  txnRequest,
} from '../model/wire/index.ts';
import type { AclCommands } from './acl.ts';
import { type Command, type CommandName, commandNumbers, type Commands, type TombstoneRequest } from './command.ts';

const { bool, fullList, index, str } = shapes;

type AclRequest<T extends keyof AclCommands> = AclCommands[T]['request'];

const commandShapes: { readonly [T in CommandName]: Shape<Commands[T]['request']> } = {
  Register: registerRequest,
  Deregister: deregisterRequest,
  KVS: kvsRequest,
  Session: sessionRequest,
  LegacyACL: legacyAclRequest,
  Tombstone: record<TombstoneRequest>({
    Datacenter: str,
    Op: text<TombstoneRequest['Op']>(),
    ReapIndex: index,
    Token: opt(str),
  }),
  Coordinate: fullList(nodeCoordinate),
  PreparedQuery: preparedQueryRequest,
  Txn: txnRequest,
  Autopilot: autopilotSetConfig,
  ACLBootstrap: record<AclRequest<'ACLBootstrap'>>({ Token: aclToken, ResetIndex: index }),
  Intention: intentionRequest,
  ConnectCA: caRequest,
  ACLTokenSet: record<AclRequest<'ACLTokenSet'>>({
    Tokens: fullList(aclToken),
    CAS: opt(bool),
    AllowMissingLinks: opt(bool),
    ProhibitUnprivileged: opt(bool),
    FromReplication: opt(bool),
  }),
  ACLTokenDelete: record<AclRequest<'ACLTokenDelete'>>({ TokenIDs: fullList(str) }),
  ACLPolicySet: record<AclRequest<'ACLPolicySet'>>({ Policies: fullList(aclPolicy) }),
  ACLPolicyDelete: record<AclRequest<'ACLPolicyDelete'>>({ PolicyIDs: fullList(str) }),
  ConnectCALeaf: caLeafRequest,
  ConfigEntry: configEntryRequest,
  ACLRoleSet: record<AclRequest<'ACLRoleSet'>>({ Roles: fullList(aclRole), AllowMissingLinks: opt(bool) }),
  ACLRoleDelete: record<AclRequest<'ACLRoleDelete'>>({ RoleIDs: fullList(str) }),
  ACLBindingRuleSet: record<AclRequest<'ACLBindingRuleSet'>>({ BindingRules: fullList(aclBindingRule) }),
  ACLBindingRuleDelete: record<AclRequest<'ACLBindingRuleDelete'>>({ BindingRuleIDs: fullList(str) }),
  ACLAuthMethodSet: record<AclRequest<'ACLAuthMethodSet'>>({ AuthMethods: fullList(aclAuthMethod) }),
  ACLAuthMethodDelete: record<AclRequest<'ACLAuthMethodDelete'>>({ AuthMethodNames: fullList(str) }),
  FederationState: federationStateRequest,
};

/** Who does not know the command may pass it over. */
const ignorableBit = 0x80;
const ignorable: ReadonlySet<CommandName> = new Set(['Coordinate', 'ConnectCALeaf']);

const byNumber: ReadonlyMap<number, CommandName> = new Map(
  (Object.entries(commandNumbers) as [CommandName, number][]).map(([name, number]) => [number, name]),
);

/** The bytes of the command's entry in the log. */
export function encodeCommand(command: Command): Uint8Array {
  const body = encodeShape(commandShapes[command.type] as Shape<Command['request']>, command.request);
  const bytes = Buffer.allocUnsafe(1 + body.length);
  bytes[0] = commandNumbers[command.type] | (ignorable.has(command.type) ? ignorableBit : 0);
  bytes.set(body, 1);
  return bytes;
}

/** A command that this version cannot apply and may not pass over. */
export class UnknownCommandError extends Error {
  constructor(problem: string) {
    super(
      `cannot apply an entry of the replicated log: ${problem}. It was written by a newer server, or is damaged; ` +
        'going on would give answers that differ from those of the other servers. Upgrade this server, or remove its ' +
        'data directory and let it join again',
    );
    this.name = 'UnknownCommandError';
  }
}

/**
 * @returns null for one that is unknown and may be passed over: it takes an index and does nothing.
 * @throws UnknownCommandError
 */
export function decodeCommand(bytes: Uint8Array): Command | null {
  const first = bytes[0];
  if (first === undefined) throw new UnknownCommandError('it is empty');
  const type = byNumber.get(first & ~ignorableBit);
  if (type === undefined) {
    if ((first & ignorableBit) !== 0) return null;
    throw new UnknownCommandError(`command ${first} is not known here`);
  }
  try {
    return { type, request: decodeShape(commandShapes[type] as Shape<unknown>, bytes.subarray(1)) } as Command;
  } catch (error) {
    if (!(error instanceof MsgpackError)) throw error;
    throw new UnknownCommandError(`${type}: ${error.message}`);
  }
}
