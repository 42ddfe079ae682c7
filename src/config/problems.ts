/**
 * Conversions whose failures are collected and reported together, each under the key it came from (reference/agent.md
 * §2.4: durations, ports, IPs, CIDRs).
 */
import { parseGoDurationMs } from '../codec/index.ts';
import { multiErrorText } from '../lib/index.ts';
import { ipFamily } from '../model/index.ts';
import { parseCidr } from './ip.ts';
import { ConfigError } from './schema.ts';
import { expandTemplate, TemplateError, type TemplateHost } from './sockaddr.ts';

const portMax = 65_535;

export class Problems {
  readonly #found: string[] = [];
  readonly #host: TemplateHost;

  constructor(host: TemplateHost) {
    this.#host = host;
  }

  add(problem: string): void {
    this.#found.push(problem);
  }

  /** @throws ConfigError with everything that was collected. */
  throwIfAny(): void {
    if (this.#found.length > 0) throw new ConfigError(multiErrorText(this.#found));
  }

  /** Milliseconds of a Go duration. */
  durationMs(key: string, text: string): number {
    try {
      return parseGoDurationMs(text);
    } catch (error) {
      this.add(`${key}: invalid duration: ${JSON.stringify(text)}: ${(error as Error).message}`);
      return 0;
    }
  }

  /** 1 to 65535; -1 for a port that is switched off by any number that is not positive. */
  port(key: string, port: number): number {
    if (port > portMax) this.add(`${key}: invalid port: ${port}`);
    return port <= 0 ? -1 : port;
  }

  /** Words of a setting after its template; [] with a collected problem when the template fails. */
  words(key: string, text: string): string[] {
    try {
      return expandTemplate(text, this.#host)
        .split(/\s+/)
        .filter((word) => word !== '');
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
      this.add(`${key}: ${error.message}`);
      return [];
    }
  }

  /** Addresses that must be IPs, or `unix://` paths where allowed. */
  addresses(key: string, text: string): string[] {
    return this.words(key, text).filter((word) => {
      if (word.startsWith('unix://') || ipFamily(word) !== 0) return true;
      this.add(`${key}: invalid ip address: ${word}`);
      return false;
    });
  }

  /** At most one address; null when nothing is left of it. */
  oneAddress(key: string, text: string | undefined): string | null {
    if (text === undefined) return null;
    const words = this.words(key, text);
    if (words.length > 1) {
      this.add(`${key}: multiple addresses found: ${words.join(' ')}`);
      return null;
    }
    const [word] = words;
    if (word === undefined) return null;
    if (ipFamily(word) === 0) {
      this.add(`${key}: invalid ip address: ${word}`);
      return null;
    }
    return word;
  }

  cidrs(key: string, texts: readonly string[]): string[] {
    return texts
      .map((text) => text.trim())
      .filter((text) => {
        if (parseCidr(text) !== undefined) return true;
        this.add(`${key}: invalid CIDR address: ${text}`);
        return false;
      });
  }
}
