export { type AgentAcl, type AgentTokenName, agentTokenNames } from './agent-acl.ts';
/** Door of the HTTP API: the server, its options, and the contract with the agent it fronts. */
export {
  type AgentDoor,
  AgentRequestError,
  type AgentSelf,
  type EventDoor,
  type MetricAggregate,
  type MetricsSnapshot,
} from './agent-door.ts';
export { ConfigEntryError, decodeConfigEntry } from './config-entry-json.ts';
export { type HttpOptions, httpOptionDefaults } from './options.ts';
export { createHttpServer, type HttpListener, type HttpServer } from './server.ts';
