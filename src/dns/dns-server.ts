/** The DNS front door: listeners, and the responder that the present options give. */
import type { Clock, Logger, Metrics, Random } from '../ports/index.ts';
import type { CatalogDependencies } from './catalog.ts';
import type { DnsOptions } from './dns-options.ts';
import { RecursorClient, resolveRecursors } from './recursor.ts';
import { Responder } from './responder.ts';
import { listenTcp } from './tcp-listener.ts';
import { type Listener, type ListenerDependencies, listenUdp } from './udp-listener.ts';

export interface DnsAddress {
  /** IP address. */
  readonly host: string;
  /** 0 takes a free port, the same for UDP and TCP. */
  readonly port: number;
}

export interface DnsServerDependencies extends CatalogDependencies {
  readonly options: DnsOptions;
  readonly clock: Clock;
  readonly random: Random;
  /** Named `agent.dns`. */
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface DnsServer {
  /**
   * Resolves the recursors' host names, then listens on UDP and TCP at every address. Rejects, with nothing left
   * open, when a recursor is invalid or an address cannot be bound.
   * @returns the addresses with their real ports.
   */
  start(addresses: readonly DnsAddress[]): Promise<readonly DnsAddress[]>;
  /** Closes all sockets; queries in progress get no answer. */
  stop(): Promise<void>;
  /** Takes over new options, except for `domain` and `altDomain`. Rejects, and keeps the old ones, when a recursor is invalid. */
  reload(options: DnsOptions): Promise<void>;
}

export function createDnsServer(dependencies: DnsServerDependencies): DnsServer {
  const { clock, logger, metrics } = dependencies;
  const recursorClient = new RecursorClient(clock);
  let { options } = dependencies;
  let responder = new Responder({ ...dependencies, recursorClient }, options, []);
  let recursing: boolean | null = null;
  let listeners: Listener[] = [];

  const apply = async (next: DnsOptions): Promise<void> => {
    const recursors = await resolveRecursors(next.recursors);
    options = next;
    responder = new Responder({ ...dependencies, recursorClient }, next, recursors);
    if (recursing !== recursors.length > 0) {
      recursing = recursors.length > 0;
      logger.debug(recursing ? 'recursor enabled' : 'recursor disabled');
    }
  };
  const stop = async (): Promise<void> => {
    const closing = listeners;
    listeners = [];
    recursorClient.close();
    await Promise.all(closing.map((listener) => listener.close()));
  };

  return {
    stop,
    async start(addresses) {
      await apply(options);
      const forListeners: ListenerDependencies & { readonly clock: Clock } = {
        clock,
        logger,
        metrics,
        respond: (packet, transport, client) => responder.respond(packet, transport, client),
      };
      const bound: DnsAddress[] = [];
      try {
        for (const { host, port } of addresses) {
          const tcp = await listenTcp(host, port, forListeners);
          listeners.push(tcp);
          listeners.push(await listenUdp(host, tcp.port, forListeners));
          bound.push({ host, port: tcp.port });
        }
      } catch (error) {
        await stop();
        throw error;
      }
      return bound;
    },
    async reload(next) {
      await apply({ ...next, domain: options.domain, altDomain: options.altDomain });
    },
  };
}
