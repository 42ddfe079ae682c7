/**
 * The address under which published ports are registered. A host's address can change under a running agent (a DHCP
 * lease, a moved floating address), so it is found out again from time to time, and a change is passed on
 * (reference/registrator.md R21). An answer without an address keeps the old one: no service is better off without.
 */
import type { AdvertiseDecision } from '../environment/index.ts';
import type { Clock, Logger, Timer } from '../ports/index.ts';

/** Period of the look (ms): it reads interfaces and, where it matters, a metadata service on the host. */
const lookIntervalMs = 30_000;

export class AdvertisedAddress {
  readonly #decide: () => Promise<AdvertiseDecision>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onChange: () => void;
  #current: AdvertiseDecision;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(dependencies: {
    /** What was found at the start. */
    readonly first: AdvertiseDecision;
    readonly decide: () => Promise<AdvertiseDecision>;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly onChange: () => void;
  }) {
    this.#current = dependencies.first;
    this.#decide = dependencies.decide;
    this.#clock = dependencies.clock;
    this.#logger = dependencies.logger;
    this.#onChange = dependencies.onChange;
  }

  get current(): AdvertiseDecision {
    return this.#current;
  }

  start(): void {
    this.#timer = this.#clock.after(lookIntervalMs, () => {
      void this.#look();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #look(): Promise<void> {
    try {
      const next = await this.#decide();
      if (next.address !== null && next.address !== this.#current.address) {
        this.#logger.warn('the address of this host has changed; its services follow', {
          from: this.#current.address ?? 'none',
          to: next.address,
          source: next.source,
        });
        this.#current = next;
        this.#onChange();
      }
    } catch (error) {
      this.#logger.warn('looking at the address of this host failed; it stays as it is', { error });
    }
    if (!this.#stopped) this.start();
  }
}
