/** What the ACL endpoints have at hand. */
import type { FileStore, HttpClient, Logger, Random } from '../../ports/index.ts';
import type { Endpoint } from '../endpoint.ts';
import type { AclResolver } from './resolver.ts';

export interface AclEndpoint extends Endpoint {
  readonly resolver: AclResolver;
  readonly random: Random;
  /** Asks those who vouch for who logs in. */
  readonly http: HttpClient;
  /** The data directory, where an operator may leave a word for the servers; undefined when there is none. */
  readonly files: FileStore | undefined;
  readonly logger: Logger;
}
