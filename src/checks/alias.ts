/**
 * Alias checks: as healthy as another service (reference/agent.md §4.5). Looked at are the checks of that service and
 * all node-level checks of its node; the first critical wins, else the last warning. Evaluated again on every change
 * and every minute. It leaves itself out, and a node-level alias all node-level aliases: with the peer such a one sees
 * itself, starts critical and stays so for ever.
 */
import type { CheckStatus, HealthCheck } from '../model/index.ts';
import type { Clock, Timer } from '../ports/index.ts';

/** Without any change it is looked at again after this, ms. */
const lookAgainMs = 60_000;

export type AliasedCheck = Pick<HealthCheck, 'CheckID' | 'Name' | 'Status' | 'Output' | 'ServiceID' | 'Type'>;

/** What is known about the services and checks of one node. */
export interface AliasView {
  hasService(serviceId: string): boolean;
  checks(): Iterable<AliasedCheck>;
}

/** Where alias checks look. */
export interface AliasSource {
  /** This agent's own services and checks, now. */
  local(): AliasView;
  /** Calls back after every local change until the returned function is called. */
  onLocalChange(callback: () => void): () => void;
  /**
   * Follows a node in the catalog (a blocking query): calls back with every answer, null when there is no such node,
   * until the returned function is called.
   */
  watchNode(node: string, onView: (view: AliasView | null) => void): () => void;
}

export interface AliasTarget {
  readonly checkId: string;
  /** The service the alias check itself belongs to; "" makes it a node-level check. */
  readonly ownServiceId: string;
  /** "" is the own node. */
  readonly node: string;
  /** "" is the node alone. */
  readonly serviceId: string;
}

/** The verdict, as a pure function of what is known. */
export function judgeAlias(target: AliasTarget, view: AliasView | null): { status: CheckStatus; output: string } {
  const { serviceId, node } = target;
  if (view === null) return { status: 'critical', output: `Node ${node} could not be found in the catalog` };
  if (serviceId !== '' && !view.hasService(serviceId)) {
    return { status: 'critical', output: `Service ${serviceId} could not be found on node ${node}` };
  }
  let found = false;
  let status: CheckStatus = 'passing';
  let output = 'All checks passing.';
  for (const check of view.checks()) {
    const nodeLevel = check.ServiceID === '';
    if (check.CheckID === target.checkId) continue;
    if (!nodeLevel && check.ServiceID !== serviceId) continue;
    if (nodeLevel && target.ownServiceId === '' && check.Type === 'alias') continue;
    found = true;
    if (check.Status !== 'critical' && check.Status !== 'warning') continue;
    status = check.Status;
    output = `Aliased check "${check.Name}" failing: ${check.Output}`;
    if (status === 'critical') break;
  }
  return { status, output: found ? output : 'No checks found.' };
}

export class AliasCheck {
  readonly #target: AliasTarget;
  readonly #clock: Clock;
  readonly #outputBytesMax: number;
  readonly #onStatus: (status: CheckStatus, output: string) => void;
  readonly #stopWatching: () => void;
  #timer: Timer | undefined;
  #soon: Timer | undefined;
  #view: AliasView | null | undefined;
  #last: { readonly status: CheckStatus; readonly output: string } | undefined;

  constructor(options: {
    readonly target: AliasTarget;
    readonly source: AliasSource;
    readonly clock: Clock;
    readonly outputBytesMax: number;
    readonly onStatus: (status: CheckStatus, output: string) => void;
  }) {
    const { source, target } = options;
    this.#target = target;
    this.#clock = options.clock;
    this.#outputBytesMax = options.outputBytesMax;
    this.#onStatus = options.onStatus;
    if (target.node === '') {
      this.#view = source.local();
      this.#stopWatching = source.onLocalChange(() => this.#lookSoon());
      this.#lookSoon();
    } else {
      this.#stopWatching = source.watchNode(target.node, (view) => {
        this.#view = view;
        this.#lookSoon();
      });
    }
  }

  stop(): void {
    this.#stopWatching();
    this.#timer?.cancel();
    this.#soon?.cancel();
  }

  /** Not at once: our own report is a local change too, and many changes come together. */
  #lookSoon(): void {
    this.#soon ??= this.#clock.after(0, () => {
      this.#soon = undefined;
      this.#look();
    });
  }

  #look(): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.after(lookAgainMs, () => this.#look());
    if (this.#view === undefined) return;
    const { status, output: whole } = judgeAlias(this.#target, this.#view);
    // Two aliases of each other quote each other; without a limit their outputs would grow for ever.
    const output = Buffer.from(whole, 'utf8').subarray(0, this.#outputBytesMax).toString('utf8');
    if (this.#last?.status === status && this.#last.output === output) return;
    this.#last = { status, output };
    this.#onStatus(status, output);
  }
}
