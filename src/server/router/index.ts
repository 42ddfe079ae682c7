export { isServersFault } from './retry.ts';
export {
  createRouter,
  type RoutedCalls,
  type RoutedShapes,
  type Router,
  type RouterOptions,
  type ServersCaller,
} from './router.ts';
export type { RpcLimits } from './rate-limit.ts';
