/** Door of the agent: run it, and what this build calls itself. */
export { compatibleVersion } from './agent.ts';
export { type AgentIo, runAgent } from './compose.ts';
export { portolanRevision, portolanVersion } from './version.ts';
