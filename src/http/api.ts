/** What the endpoints stand on. One object, so that an endpoint group is a function of it. */
import type { CachedCaller, NamedCaller } from '../model/index.ts';
import type { Clock, Logger, Random } from '../ports/index.ts';
import type { AgentDoor } from './agent-door.ts';
import type { HttpOptions } from './options.ts';

export interface Api {
  readonly caller: NamedCaller;
  /** The agent's cache, for reads that ask for it. */
  readonly cache: CachedCaller;
  readonly agent: AgentDoor;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The options in force; a reload replaces them. */
  readonly options: () => HttpOptions;
}
