/** The engine port on a test engine, with what it logs and counts. */
import { DockerodeEngine } from '../../../src/node/dockerode-engine.ts';
import { engineEndpoint } from '../../../src/node/engine-endpoint.ts';
import { SystemClock } from '../../../src/node/system-clock.ts';
import { SystemRandom } from '../../../src/node/system-random.ts';
import { recordingLogger, recordingMetrics, type LogLine } from '../../unit/checks/support.ts';

export interface RealEngine {
  readonly engine: DockerodeEngine;
  readonly lines: LogLine[];
  readonly counters: Map<string, number>;
}

/** @param options.remote the engine's processes are not visible, as for an agent in a container of its own. */
export function realEngine(host: string, options: { readonly remote?: boolean } = {}): RealEngine {
  const { logger, lines } = recordingLogger();
  const { metrics, counters } = recordingMetrics();
  const engine = new DockerodeEngine({
    endpoint: engineEndpoint({ ...process.env, DOCKER_HOST: host }),
    clock: new SystemClock(),
    random: new SystemRandom(),
    logger,
    metrics,
    ...(options.remote === true ? { procPath: '/nonexistent' } : {}),
  });
  return { engine, lines, counters };
}
