/**
 * Does it grow? Two thousand containers, each new, start and end under the agent's eyes. At intervals all are gone, a
 * collection is forced, and what is left is measured: it must not depend on how many there were.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Context } from './support/context.ts';
import { withEngine } from './support/engine-agent.ts';
import type { EngineApi } from './support/engine-api.ts';
import { http } from './support/http.ts';
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
/** A registration that takes longer has been lost (ms). */
const limitMs = 30_000;

interface Sample {
  readonly cycles: number;
  readonly heapBytes: number;
  readonly residentBytes: number;
}

export async function measureChurn(context: Context): Promise<Section> {
  const total = context.quick ? quickContainers : containers;
  const { hook, result } = collectionHook(context.root);
  const found = await withEngine(context, ['--userland-proxy=false'], async ({ api, startAgent }) => {
    const agent = await startAgent(undefined, { NODE_OPTIONS: `--expose-gc --require=${hook}` });
    const points: Sample[] = [];
    for (let upTo = total / samples; upTo <= total; upTo += total / samples) {
      await Promise.all(
        Array.from({ length: parallel }, (_, worker) => cycles(api, agent, worker, total / samples / parallel)),
      );
      points.push(await settled(agent, upTo, result));
      const { heapBytes, residentBytes } = points.at(-1)!;
      progress(
        `churn: ${upTo} of ${total}, heap ${show(heapBytes / 1e6)} MB, resident ${show(residentBytes / 1e6)} MB`,
      );
    }
    return points;
  });
  const half = found.slice(-samples / 2);
  const heapSlope = slope(half.map((point) => ({ x: point.cycles, y: point.heapBytes })));
  const residentSlope = slope(half.map((point) => ({ x: point.cycles, y: point.residentBytes })));
  return {
    title: `${total} container starts and ends`,
    method: `Each container is new; ${parallel} at a time. Measured when all are gone and a collection was forced. Slopes are of the second half.`,
    columns: ['after', 'heap MB', 'resident MB', 'limit'],
    rows: [
      ...found.map(({ cycles, heapBytes, residentBytes }) => ({
        cells: [`${cycles} containers`, show(heapBytes / 1e6), show(residentBytes / 1e6), ''],
      })),
      {
        cells: ['slope, bytes for each container', show(heapSlope), show(residentSlope), `heap < ${heapSlopeMax}`],
        kept: heapSlope < heapSlopeMax,
      },
    ],
    data: { samples: found, heapSlope, residentSlope },
  };
}

/** Each container is seen registered before it is removed: one that was overlooked would make the measurement worthless. */
async function cycles(api: EngineApi, agent: RunningSubject, worker: number, count: number): Promise<void> {
  for (let done = 0; done < count; done++) {
    const service = `churn-${worker}`;
    const id = await api.create({ image: 'acme/bare', publish: 80, labels: { SERVICE_NAME: service } });
    await api.start(id);
    await instances(agent, service, 1);
    await api.remove(id);
    await instances(agent, service, 0);
  }
}

/** Blocks until so many instances are there. */
async function instances(agent: RunningSubject, service: string, count: number): Promise<void> {
  let index = '0';
  for (const endMs = performance.now() + limitMs; performance.now() < endMs;) {
    const path = `/v1/health/service/${service}?index=${index}&wait=5s`;
    const { headers, text } = await http(agent.target, 'GET', path);
    if ((JSON.parse(text) as unknown[]).length === count) return;
    index = String(headers['x-consul-index']);
  }
  throw new Error(`never saw ${count} instances of ${service}\n${agent.log}`);
}

async function settled(agent: RunningSubject, done: number, result: string): Promise<Sample> {
  rmSync(result, { force: true });
  agent.signal('SIGUSR2');
  await pause(settleMs);
  return { cycles: done, heapBytes: Number(readFileSync(result, 'utf8')), residentBytes: agent.residentBytes() };
}

/**
 * A file that Node.js loads before the agent: at SIGUSR2, which the agent ignores, it collects garbage and writes down
 * what is left. (The agent's own gauge is of the last complete interval, in the midst of the churn.)
 */
function collectionHook(root: string): { readonly hook: string; readonly result: string } {
  const folder = join(root, '.cache', 'bench');
  mkdirSync(folder, { recursive: true });
  const hook = join(folder, 'collect-on-signal.cjs');
  const result = join(folder, 'heap-after-collection');
  writeFileSync(
    hook,
    `process.on('SIGUSR2', () => {
  globalThis.gc();
  globalThis.gc();
  require('node:fs').writeFileSync(${JSON.stringify(result)}, String(process.memoryUsage().heapUsed));
});
`,
  );
  return { hook, result };
}
