/**
 * What the upstream resolvers are asked for: whole queries that are not ours, and addresses of host names that our
 * records point at (reference/dns.md §6.6, §9). The two differ in which answer counts: a forwarded query goes on to
 * the next resolver until one says NOERROR or NXDOMAIN, a host name takes the first answer of any kind.
 */
import { formatGoDurationMs } from '../codec/index.ts';
import type { Clock, Logger, Random } from '../ports/index.ts';
import type { DnsOptions } from './dns-options.ts';
import type { Transport } from './limits.ts';
import { classIN, flagBit, type Query, recordType, type ResourceRecord, responseCode } from './message.ts';
import { writeMessage } from './message-writer.ts';
import type { Name } from './name.ts';
import { codeOf, type Recursor, type RecursorClient } from './recursor.ts';

export interface ForwarderDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly recursorClient: RecursorClient;
}

export class Forwarder {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #client: RecursorClient;
  readonly #recursors: readonly Recursor[];
  readonly #timeoutMs: number;
  readonly #compress: boolean;

  constructor(dependencies: ForwarderDependencies, options: DnsOptions, recursors: readonly Recursor[]) {
    this.#clock = dependencies.clock;
    this.#random = dependencies.random;
    this.#logger = dependencies.logger;
    this.#client = dependencies.recursorClient;
    this.#recursors = recursors;
    this.#timeoutMs = options.recursorTimeoutMs;
    this.#compress = !options.disableCompression;
  }

  /** Whether there is anybody to ask. */
  get available(): boolean {
    return this.#recursors.length > 0;
  }

  /** The first usable answer to the query, as it is; null when nobody has one. */
  async forward(query: Query, transport: Transport): Promise<Buffer | null> {
    const question = query.name.text;
    for (const recursor of this.#recursors) {
      const askedMs = this.#clock.monotonicMs();
      try {
        const message = await this.#client.exchange(recursor, query, transport, this.#timeoutMs);
        const code = codeOf(message);
        if (code !== responseCode.NOERROR && code !== responseCode.NXDOMAIN) {
          this.#logger.debug('recurse failed for question', { question, recursor: recursor.text, rcode: code });
          continue;
        }
        const rtt = formatGoDurationMs(this.#clock.monotonicMs() - askedMs);
        this.#logger.debug('recurse succeeded for question', { question, rtt, recursor: recursor.text });
        return writeMessage(query.id, message.flags, message.question, message, { compress: this.#compress });
      } catch (error) {
        this.#logger.error('recurse failed', { error: messageOf(error) });
      }
    }
    return null;
  }

  /** Records that a host name outside our zone leads to; only IPv4 addresses are asked for. */
  async resolve(name: Name): Promise<readonly ResourceRecord[]> {
    if (!this.available) return [];
    const [high, low] = this.#random.bytes(2) as Uint8Array & [number, number];
    const type = recordType.A;
    const sections = { answer: [], authority: [], additional: [] };
    const question = { name, type, class: classIN };
    const packet = writeMessage((high << 8) | low, flagBit.RD, question, sections, { compress: true });
    for (const recursor of this.#recursors) {
      const askedMs = this.#clock.monotonicMs();
      try {
        const message = await this.#client.exchange(recursor, { packet, name, type }, 'udp', this.#timeoutMs);
        const rtt = formatGoDurationMs(this.#clock.monotonicMs() - askedMs);
        this.#logger.debug('cname recurse RTT for name', { name: name.text, rtt });
        return message.answer;
      } catch (error) {
        this.#logger.error('cname recurse failed for name', { name: name.text, error: messageOf(error) });
      }
    }
    this.#logger.error('all resolvers failed for name', { name: name.text });
    return [];
  }
}

/** Text of what was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
