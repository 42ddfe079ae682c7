export {
  AgentClient,
  AgentConnectionError,
  type ClientQuery,
  type ClientRequest,
  type ClientResponse,
  type ClientStream,
  requestTimeoutMs,
  UnexpectedResponseError,
} from './agent-client.ts';
export {
  type ClientFlags,
  type ClientOptions,
  type ClientTls,
  clientEnv,
  goFileError,
  resolveClientOptions,
} from './client-options.ts';
export { goNetError } from './go-net-error.ts';
export { acquireLock, type HeldLock, lockKey, type LockOptions } from './lock.ts';
export { serviceRegistrationBody } from './service-registration.ts';
export { createHttpBackend, RegistrationRefusedError } from './registration-backend.ts';
export { askWatch, followWatch, type WatchPlan, watchPlan, type WatchSubject } from './watch-plan.ts';
export { RemoteExecution, type RemoteJob, type RemoteNews } from './remote-exec.ts';
