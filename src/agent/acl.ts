/** The agent's part in ACLs: its settings, its own tokens, and the rights of its master token over itself. */
import { type Config, ConfigError } from '../config/index.ts';
import type { AgentAcl } from '../http/index.ts';
import { Authorizer, downPolicies, type RemoteAclSettings, type ServerOptions } from '../server/index.ts';
import type { AgentTokens, AgentTokenSet } from './tokens.ts';

export function aclOptions({ acl }: Config): NonNullable<ServerOptions['acl']> {
  return {
    enabled: acl.enabled,
    defaultPolicy: acl.defaultPolicy === 'deny' ? 'deny' : 'allow',
    keyListPolicy: acl.enableKeyListPolicy,
    masterToken: acl.tokens.master,
  };
}

/** The same for an agent that asks servers. @throws ConfigError for an unknown `down_policy`. */
export function remoteAclSettings({ acl }: Config): RemoteAclSettings {
  const downPolicy = downPolicies.find((policy) => policy === acl.downPolicy);
  if (downPolicy === undefined) {
    throw new ConfigError(
      `acl.down_policy cannot be ${JSON.stringify(acl.downPolicy)}: use ${downPolicies.join(', ')}`,
    );
  }
  return {
    enabled: acl.enabled,
    defaultPolicy: acl.defaultPolicy === 'deny' ? 'deny' : 'allow',
    downPolicy,
    tokenTtlMs: acl.tokenTtlMs,
    roleTtlMs: acl.roleTtlMs,
    policyTtlMs: acl.policyTtlMs,
  };
}

export function tokensOf({ acl: { tokens } }: Config): AgentTokenSet {
  return {
    default: tokens.default,
    agent: tokens.agent,
    agent_master: tokens.agentMaster,
    replication: tokens.replication,
  };
}

export function agentAcl(parts: {
  readonly enabled: boolean;
  readonly defaultAllows: boolean;
  readonly nodeName: string;
  readonly tokens: AgentTokens;
  /** A server itself, or what asks the servers. */
  readonly server: { resolveToken(secret: string): Authorizer | null | Promise<Authorizer | null> };
}): AgentAcl {
  const { enabled, defaultAllows, nodeName, tokens, server } = parts;
  // For emergencies, when no server can say what a token may: this agent, and nothing else.
  const master = new Authorizer(
    [
      {
        names: [
          { resource: 'agent', match: 'exact', name: nodeName, access: 'write' },
          { resource: 'node', match: 'prefix', name: '', access: 'read' },
        ],
        singles: {},
      },
    ],
    'deny',
  );
  return {
    enabled,
    defaultAllows,
    defaultToken: () => tokens.user,
    resolve: async (token) => (tokens.isAgentMaster(token) ? master : await server.resolveToken(token)),
    setToken: (name, secret) => tokens.set(name, secret),
  };
}
