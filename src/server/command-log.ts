/**
 * The one way to change replicated state: propose a command to the log, get its result when it has been applied.
 * Endpoints know this port only; behind it stands one process's memory, or consensus among servers.
 */
import type { CommandName, CommandOf, CommandResult } from '../state/index.ts';

export interface CommandLog {
  /**
   * Appends the command and resolves with its result once it is durable and applied here. Proposals of one caller are
   * applied in the order they were made.
   * @throws CallError the command's own failure (it consumed an index and changed nothing), or `No cluster leader`.
   */
  propose<T extends CommandName>(command: CommandOf<T>): Promise<CommandResult<T>>;
  /** Index of the last command in the log. */
  readonly lastIndex: number;
  /** Whether this server may propose. */
  readonly isLeader: boolean;
  /** `host:port` of the leader; "" when there is none. */
  readonly leaderAddress: string;
  /** `host:port` of every server in the configuration. */
  readonly peers: readonly string[];
  /** Index of the configuration in force. */
  readonly configurationIndex: number;
  /** The leader's term. */
  readonly term: number;
  /**
   * Takes a server out of the configuration.
   * @throws CallError when no voter would be left, or no leader is there to do it.
   */
  removePeer(address: string): Promise<void>;
  /** Nanoseconds since this server heard from the leader; 0 on the leader. */
  readonly lastContactNs: number;
}
