/**
 * Requests that end the process of a real server, because it does not look before it follows a null
 * (reference/server-rpc.md §2.2, §10 trap 20). What a user sends through us must not do that.
 */
import { CallError, type CallName, type CallRequest } from '../../model/index.ts';
import type { ServersCallName } from './router.ts';

const problems: { readonly [M in CallName]?: (request: CallRequest<M>) => string | false } = {
  'Catalog.Register': ({ Checks }) => hasNull(Checks) && 'Checks must not hold null',
  'Coordinate.Update': ({ Coord }) => isNull(Coord) && 'Coord must be given',
  'PreparedQuery.Apply': ({ Query }) => isNull(Query) && 'Query must be given',
  'Intention.Match': ({ Match }) => isNull(Match) && 'Match must be given',
  'Txn.Apply': ({ Ops }) => hasNull(Ops) && 'Ops must not hold null',
  'ConnectCA.ConfigurationSet': ({ Config }) => isNull(Config) && 'Config must be given',
  // The keys of servers are asked for at servers only.
  'Internal.KeyringOperation': () => 'keyring operations must run against a server node',
};

function isNull(value: unknown): boolean {
  return value === null || value === undefined;
}

function hasNull(values: readonly unknown[] | null | undefined): boolean {
  return values?.some(isNull) === true;
}

/** @throws CallError */
export function refuseFatal(method: ServersCallName, request: unknown): void {
  const problem = (problems as Readonly<Record<string, (request: unknown) => string | false>>)[method]?.(request);
  if (typeof problem === 'string') throw new CallError(problem);
}
