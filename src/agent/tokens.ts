/**
 * The agent's own tokens: for requests that bring none, for what the agent writes about its node, for itself while no
 * server answers. They come from the configuration and can be exchanged over the API; what was exchanged may outlast a
 * restart, and then wins (reference/agent.md §2.3, §3.4).
 */
import { encodeGoJson, parseGoJson } from '../codec/index.ts';
import { type AgentTokenName, agentTokenNames } from '../http/index.ts';
import type { FileStore, Logger } from '../ports/index.ts';

export type AgentTokenSet = Readonly<Record<AgentTokenName, string>>;

const fileName = 'acl-tokens.json';

export class AgentTokens {
  readonly #files: FileStore | undefined;
  readonly #logger: Logger;
  readonly #exchanged: Partial<Record<AgentTokenName, string>> = {};
  #configured: AgentTokenSet;
  #writing: Promise<void> = Promise.resolve();

  constructor(dependencies: {
    readonly configured: AgentTokenSet;
    /** Where exchanged tokens are kept; undefined: they are forgotten at the end. */
    readonly files: FileStore | undefined;
    readonly logger: Logger;
  }) {
    this.#configured = dependencies.configured;
    this.#files = dependencies.files;
    this.#logger = dependencies.logger;
  }

  /** Reads what was exchanged before a restart. */
  async load(): Promise<void> {
    let saved: unknown;
    try {
      const text = await this.#files?.read(fileName);
      if (text === undefined) return;
      saved = parseGoJson(text);
    } catch (error) {
      this.#logger.warn(`cannot read ${fileName} in the data directory; set the tokens again`, { error });
      return;
    }
    for (const name of agentTokenNames) {
      const secret = (saved as Readonly<Record<string, unknown>> | null)?.[name];
      if (typeof secret !== 'string' || secret === '') continue;
      this.#exchanged[name] = secret;
      if (this.#configured[name] !== '' && this.#configured[name] !== secret) {
        this.#logger.warn(
          `"${name}" token present in both the configuration and persisted token store, using the persisted token`,
        );
      }
    }
  }

  /** Takes a reloaded configuration's tokens; exchanged ones stay. */
  configure(tokens: AgentTokenSet): void {
    this.#configured = tokens;
  }

  /** What requests without a token are made with. */
  get user(): string {
    return this.#token('default');
  }

  /** What the agent makes its own calls with. */
  get agent(): string {
    return this.#token('agent') || this.user;
  }

  isAgentMaster(secret: string): boolean {
    return secret !== '' && secret === this.#token('agent_master');
  }

  /** Resolves when the token will outlast a restart, if it shall. */
  async set(name: AgentTokenName, secret: string): Promise<void> {
    this.#exchanged[name] = secret;
    this.#logger.info("Updated agent's ACL token", { token: name });
    const files = this.#files;
    if (files === undefined) return;
    const text = encodeGoJson(
      Object.fromEntries(agentTokenNames.map((each) => [each, this.#exchanged[each] || undefined])),
    );
    const write = (): Promise<void> => files.write(fileName, text, { sync: true });
    this.#writing = this.#writing.then(write, write);
    await this.#writing;
  }

  #token(name: AgentTokenName): string {
    return this.#exchanged[name] ?? this.#configured[name];
  }
}
