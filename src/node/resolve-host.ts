/** Host names as the system resolves them: hosts file, then DNS. */
import { lookup } from 'node:dns/promises';

/** All addresses of a host, in the system's order. @throws Error when there is none. */
export async function resolveHost(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true, verbatim: true })).map(({ address }) => address);
}
