/**
 * What the leader sees to before anything is served with ACLs on: the policy with all rights, the configured master
 * token, the anonymous token; and afterwards, that tokens whose time is over go (reference/raft.md §3.2).
 */
import {
  anonymousTokenAccessor,
  anonymousTokenSecret,
  emptyPolicy,
  emptyToken,
  globalManagementPolicyId,
} from '../../model/index.ts';
import type { Logger, Timer } from '../../ports/index.ts';
import { aclPolicyHash, aclTokenHash, isUuid } from '../../state/index.ts';
import type { AclEndpoint } from './endpoint.ts';
import { managementToken, now } from './tokens.ts';

/** How often expired tokens are looked for, ms; they are worth nothing before. */
const reapIntervalMs = 30_000;
/** Tokens that one command deletes. */
const reapBatch = 256;

const managementRules = `
acl = "write"
agent_prefix "" {
	policy = "write"
}
event_prefix "" {
	policy = "write"
}
key_prefix "" {
	policy = "write"
}
keyring = "write"
node_prefix "" {
	policy = "write"
}
operator = "write"
query_prefix "" {
	policy = "write"
}
service_prefix "" {
	policy = "write"
	intentions = "write"
}
session_prefix "" {
	policy = "write"
}`;

/** @param masterToken secret of a token that has all rights from the start; "" for none. */
export async function initialiseAcl(endpoint: AclEndpoint, masterToken: string, logger: Logger): Promise<void> {
  const { store, log } = endpoint;
  const before = store.acl.policyRecord(globalManagementPolicyId);
  if (before === undefined || before.Rules !== managementRules) {
    const policy = {
      ...emptyPolicy,
      ...before,
      ID: globalManagementPolicyId,
      Name: 'global-management',
      Description: 'Builtin Policy that grants unlimited access',
      Rules: managementRules,
    };
    await log.propose({ type: 'ACLPolicySet', request: { Policies: [{ ...policy, Hash: aclPolicyHash(policy) }] } });
    logger.info('Created ACL policy', { policy: policy.Name });
  }
  if (masterToken !== '' && store.acl.tokenRecord(masterToken) === undefined) {
    if (!isUuid(masterToken)) logger.warn('Configuring a non-UUID master token is deprecated');
    const token = managementToken(endpoint, masterToken, 'Master Token');
    if (store.acl.bootstrapIndex === 0) {
      await log.propose({ type: 'ACLBootstrap', request: { Token: token, ResetIndex: 0 } });
      logger.info('Bootstrapped ACL master token from configuration');
    } else {
      await log.propose({ type: 'ACLTokenSet', request: { Tokens: [token] } });
      logger.info('Created ACL master token from configuration');
    }
  }
  if (store.acl.tokenRecord(anonymousTokenSecret) === undefined) {
    const token = {
      ...emptyToken,
      AccessorID: anonymousTokenAccessor,
      SecretID: anonymousTokenSecret,
      Description: 'Anonymous Token',
      CreateTime: now(endpoint),
    };
    await log.propose({ type: 'ACLTokenSet', request: { Tokens: [{ ...token, Hash: aclTokenHash(token) }] } });
    logger.info('Created ACL anonymous token from configuration');
  }
}

/** Deletes tokens whose time is over. */
export class TokenReaper {
  readonly #endpoint: AclEndpoint;
  readonly #logger: Logger;
  #timer: Timer | undefined;

  constructor(endpoint: AclEndpoint, logger: Logger) {
    this.#endpoint = endpoint;
    this.#logger = logger;
  }

  start(): void {
    this.#timer?.cancel();
    this.#timer = this.#endpoint.clock.after(reapIntervalMs, () => {
      void this.#reap();
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  async #reap(): Promise<void> {
    const { store, resolver, log } = this.#endpoint;
    const expired = store.acl.expiringTokens().filter((token) => resolver.isExpired(token));
    try {
      for (let at = 0; at < expired.length; at += reapBatch) {
        const TokenIDs = expired.slice(at, at + reapBatch).map(({ AccessorID }) => AccessorID);
        await log.propose({ type: 'ACLTokenDelete', request: { TokenIDs } });
      }
      if (expired.length > 0) this.#logger.info('deleted expired ACL tokens', { amount: expired.length });
    } catch (error) {
      this.#logger.error('cannot delete expired ACL tokens', { error });
    }
    if (this.#timer !== undefined) this.start();
  }
}
