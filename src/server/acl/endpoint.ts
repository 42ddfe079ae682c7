/** What the ACL endpoints have at hand. */
import type { HttpClient, Random } from '../../ports/index.ts';
import type { Endpoint } from '../endpoint.ts';
import type { AclResolver } from './resolver.ts';

export interface AclEndpoint extends Endpoint {
  readonly resolver: AclResolver;
  readonly random: Random;
  /** Asks those who vouch for who logs in. */
  readonly http: HttpClient;
}
