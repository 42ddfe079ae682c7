export { EventCoalescer } from './coalesce.ts';
export {
  type MemberEvent,
  type MemberEventType,
  type QueryEvent,
  SerfError,
  type SerfEvent,
  type UserEventMessage,
} from './events.ts';
export { formatKeyringFile, type KeyManager, type KeyOptions, type KeyResult, parseKeyringFile } from './keys.ts';
export type { QueryHandle, QueryParameters, QueryResponse } from './queries.ts';
export { createSerf, type Serf, type SerfOptions, type SerfState } from './serf.ts';
export { consulSettings, type SerfSettings, serfSettings } from './settings.ts';
export { decodeTags, encodeTags, type Tags } from './tags.ts';
