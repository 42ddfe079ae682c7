export { isServersFault } from './retry.ts';
export { createRouter, type Router, type RouterOptions, type ServersCaller, type ServersCallName } from './router.ts';
export type { RpcLimits } from './rate-limit.ts';
