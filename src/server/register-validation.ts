/**
 * What `Catalog.Register` refuses, and what it fills in, before a command reaches the log: the log must say the same to
 * every server (reference/server-rpc.md §4.3, reference/raft.md §4.4).
 */
import { multiErrorText } from '../lib/index.ts';
import {
  CallError,
  emptyConnect,
  emptyProxy,
  type HealthCheck,
  isAnyAddress,
  kindProblems,
  type NodeService,
  type RegisterRequest,
  type Unindexed,
} from '../model/index.ts';
import { isUuid } from '../state/index.ts';

const uuidLength = 36;

/**
 * The request as it goes to the log.
 * @throws CallError with the peer's text.
 */
export function validatedRegister(request: RegisterRequest): RegisterRequest {
  if (!request.Node) throw new CallError('Must provide node');
  if (!request.Address && !request.SkipNodeUpdate) {
    throw new CallError('Must provide address if SkipNodeUpdate is not set');
  }
  requireNode(request);
  const checks = [...(request.Checks ?? [])];
  if (request.Check) checks.push(request.Check);
  return {
    ...request,
    Service: request.Service ? requireService(request.Service) : null,
    Check: null,
    Checks: checks.map((check) => completedCheck(check, request.Node)),
  };
}

/** @throws CallError when the node has no name, or an id that is none. */
export function requireNode({ Node, ID }: { readonly Node: string; readonly ID?: string }): void {
  if (!Node) throw new CallError('Must provide node');
  if (!ID) return;
  const problem = uuidProblem(ID);
  if (problem !== null) throw new CallError(`Bad node ID: ${problem}`);
}

/** In the words of the peer's parser. */
function uuidProblem(id: string): string | null {
  if (isUuid(id)) return null;
  const bytes = Buffer.from(id).toString('latin1');
  if (bytes.length !== uuidLength) return 'uuid string is wrong length';
  const parts = /^(.{8})-(.{4})-(.{4})-(.{4})-(.{12})$/s.exec(bytes);
  if (parts === null) return 'uuid is improperly formatted';
  const odd = /[^\da-f]/i.exec(parts.slice(1).join(''))?.[0] ?? '';
  const code = odd.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
  return `encoding/hex: invalid byte: U+${code}${/[\x20-\x7e\xa1-\xac\xae-\xff]/.test(odd) ? ` '${odd}'` : ''}`;
}

/**
 * The service with what it leaves out filled in.
 * @throws CallError with the peer's text.
 */
export function requireService(service: Unindexed<NodeService>): Unindexed<NodeService> {
  if (service.ID && !service.Service) throw new CallError('Must provide service name with ID');
  if (isAnyAddress(service.Address ?? '')) throw new CallError('Invalid service address');
  const complete = {
    ...service,
    ID: service.ID || service.Service,
    Kind: service.Kind ?? '',
    Port: service.Port ?? 0,
    Proxy: service.Proxy ?? emptyProxy,
    Connect: service.Connect ?? emptyConnect,
  };
  const problems = kindProblems(complete);
  if (problems.length > 0) throw new CallError(multiErrorText(problems));
  return complete;
}

function completedCheck(check: Unindexed<HealthCheck> | null, node: string): Unindexed<HealthCheck> {
  // A list may come with a hole in it from the wire; the real server dies of that (server-rpc.md §2.2).
  if (check === null || check === undefined) throw new CallError('Invalid check: the list has an empty element');
  return {
    ...check,
    Node: check.Node || node,
    CheckID: check.CheckID || check.Name || '',
    Type: check.Type || typeOf(check.Definition ?? {}),
  };
}

/** By the first of these that is given. */
function typeOf(definition: HealthCheck['Definition']): string {
  if (definition.GRPC) return 'grpc';
  if (definition.HTTP) return 'http';
  if (definition.TTL) return 'ttl';
  if (definition.TCP) return 'tcp';
  if (definition.AliasNode || definition.AliasService) return 'alias';
  if (definition.DockerContainerID) return 'docker';
  if (definition.ScriptArgs && definition.ScriptArgs.length > 0) return 'script';
  return '';
}
