/**
 * Push/pull: two members show each other everything they hold, which repairs what gossip lost and is how one joins
 * (reference/gossip.md §3.7, §4.10). The one asked replies before it merges, so the asker never learns of a refusal.
 */
import type { Logger, Metrics } from '../../ports/index.ts';
import { encodedMember } from './member-table.ts';
import type { Statements } from './statements.ts';
import { encodePushPull, type StreamMessage } from './stream-message.ts';
import type { MemberlistDelegate } from './types.ts';
import { versionProblem } from './versions.ts';

export type PushPullMessage = Extract<StreamMessage, { readonly type: 'pushPull' }>;

export class PushPull {
  readonly #statements: Statements;
  readonly #delegate: Partial<MemberlistDelegate>;
  readonly #logger: Logger;
  readonly #metrics: Metrics;

  constructor(options: {
    readonly statements: Statements;
    readonly delegate: Partial<MemberlistDelegate>;
    readonly logger: Logger;
    readonly metrics: Metrics;
  }) {
    this.#statements = options.statements;
    this.#delegate = options.delegate;
    this.#logger = options.logger;
    this.#metrics = options.metrics;
  }

  /** All we hold, ourselves and the dead included. */
  localState(isJoin: boolean): Uint8Array {
    const nodes = this.#statements.table.all().map(({ member }) => encodedMember(member));
    return encodePushPull(isJoin, nodes, this.#delegate.localState?.(isJoin) ?? new Uint8Array());
  }

  /**
   * Takes over a peer's state.
   * @throws Error when the versions do not fit or the layer above refuses; nothing was merged then.
   */
  merge({ join, nodes, userState }: PushPullMessage): void {
    this.#metrics.sample(['memberlist', 'pushPullNodes'], nodes.length);
    const members = this.#statements.remoteMembers(nodes);
    const problem =
      versionProblem(members, this.#statements.table.all()) ??
      (join ? (this.#delegate.notifyMerge?.(members) ?? null) : null);
    if (problem !== null) throw new Error(problem);
    this.#statements.merge(members);
    if (userState.length > 0) this.#delegate.mergeRemoteState?.(userState, join);
  }

  /** {@link merge} for the side that was asked, which has nobody to tell. */
  mergeServed(request: PushPullMessage, from: string): void {
    try {
      this.merge(request);
    } catch (error) {
      this.#logger.error('failed push/pull merge', { from, error: (error as Error).message });
    }
  }
}
