/**
 * Does it grow? Two thousand containers, each new, start and end under the agent's eyes. At intervals all are gone, a
 * collection is forced, and what is left is measured: it must not depend on how many there were.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { waitUntil } from '../helpers/wait.ts';
import { heapBytes } from './memory.ts';
import type { Context } from './support/context.ts';
import { withEngine } from './support/engine-agent.ts';
import type { EngineApi } from './support/engine-api.ts';
import { progress, type Section, show } from './support/report.ts';
import { slope } from './support/stats.ts';
import type { RunningSubject } from './support/subject.ts';

const containers = 2_000;
const quickContainers = 200;
const samples = 10;
/** Containers at a time. */
const parallel = 4;
/** Growth of the heap that would still be noise over the second half (bytes for each cycle). A leaked record has more. */
const heapSlopeMax = 500;
/** After the forced collection: time for the runtime to give pages back (ms). */
const settleMs = 2_000;

interface Sample {
  readonly cycles: number;
  readonly heapBytes: number;
  readonly residentBytes: number;
}

export async function measureChurn(context: Context): Promise<Section> {
  const total = context.quick ? quickContainers : containers;
  const hook = collectionHook(context.root);
  const found = await withEngine(context, async ({ api, startAgent }) => {
    const agent = await startAgent(undefined, { NODE_OPTIONS: `--expose-gc --require=${hook}` });
    const points: Sample[] = [];
    for (let upTo = total / samples; upTo <= total; upTo += total / samples) {
      await Promise.all(Array.from({ length: parallel }, () => cycles(api, total / samples / parallel)));
      points.push(await settled(agent, upTo));
      const { heapBytes, residentBytes } = points.at(-1)!;
      progress(
        `churn: ${upTo} of ${total}, heap ${show(heapBytes / 1e6)} MB, resident ${show(residentBytes / 1e6)} MB`,
      );
    }
    return { points, registrations: await registrations(agent) };
  });
  if (found.registrations < total)
    throw new Error(`only ${found.registrations} of ${total} containers were registered`);
  const half = found.points.slice(-samples / 2);
  const heapSlope = slope(half.map((point) => ({ x: point.cycles, y: point.heapBytes })));
  const residentSlope = slope(half.map((point) => ({ x: point.cycles, y: point.residentBytes })));
  return {
    title: `${total} container starts and ends`,
    method: `Each container is new; ${parallel} at a time. Measured when all are gone and a collection was forced. Slopes are of the second half.`,
    columns: ['after', 'heap MB', 'resident MB', 'limit'],
    rows: [
      ...found.points.map(({ cycles, heapBytes, residentBytes }) => ({
        cells: [`${cycles} containers`, show(heapBytes / 1e6), show(residentBytes / 1e6), ''],
      })),
      {
        cells: ['slope, bytes for each container', show(heapSlope), show(residentSlope), `heap < ${heapSlopeMax}`],
        kept: heapSlope < heapSlopeMax,
      },
    ],
    data: { ...found, heapSlope, residentSlope },
  };
}

async function cycles(api: EngineApi, count: number): Promise<void> {
  for (let done = 0; done < count; done++) {
    const id = await api.create({ image: 'acme/bare', publish: 80, labels: { SERVICE_NAME: 'churn' } });
    await api.start(id);
    await api.remove(id);
  }
}

async function settled(agent: RunningSubject, done: number): Promise<Sample> {
  await waitUntil('no service left', async () => (await agent.get<unknown[]>('/v1/health/service/churn')).length === 0);
  agent.signal('SIGUSR2');
  await pause(settleMs);
  return { cycles: done, heapBytes: await heapBytes(agent), residentBytes: agent.residentBytes() };
}

/** How many services were registered so far: a container that was overlooked would make the measurement worthless. */
async function registrations(agent: RunningSubject): Promise<number> {
  const page = await agent.get<{ Counters: { Name: string; Count: number; Sum: number }[] }>('/v1/agent/metrics');
  return page.Counters.find(({ Name }) => Name.endsWith('.registrator.register'))?.Sum ?? 0;
}

/** A file that Node.js loads before the agent: SIGUSR2, which the agent ignores, collects garbage. */
function collectionHook(root: string): string {
  const folder = join(root, '.cache', 'bench');
  mkdirSync(folder, { recursive: true });
  const path = join(folder, 'collect-on-signal.cjs');
  writeFileSync(path, "process.on('SIGUSR2', () => {\n  globalThis.gc();\n  globalThis.gc();\n});\n");
  return path;
}
