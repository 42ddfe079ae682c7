/**
 * `npm run bench:servers [-- --quick] [--servers 1|3] [--record name]`: servers that keep what they acknowledge, ours and the real
 * Consul's, one after the other in alternating rounds on the same disk: each acknowledged write is synced by a majority.
 * One server, and three in network namespaces. The generator shares the machine, so what counts are the ratios.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { Cluster, type Kind, type Member, ports } from '../../helpers/cluster.ts';
import { Network, namespacesSkipReason } from '../../helpers/namespaces.ts';
import { waitUntil } from '../../helpers/wait.ts';
import {
  type Bar,
  describeMachine,
  printSection,
  progress,
  type Section,
  show,
  writeReport,
} from '../support/report.ts';
import { median } from '../support/stats.ts';
import { consulOrReason } from '../support/subject.ts';

const run = promisify(execFile);
const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    /** Only a cluster of so many. */
    servers: { type: 'string' },
    /** Name of the report, to be kept in the repository. */
    record: { type: 'string', default: 'servers' },
  },
});
const root = process.cwd();
const rounds = options.quick ? 1 : 3;
/** Length of one load (s); one of `warmUpS` before it does not count. */
const loadS = options.quick ? 3 : 10;
const warmUpS = 2;
const clientCounts = [1, 32, 256];
/** Keys that the loads write in turn, and the bytes of a value. */
const keys = 100_000;
const valueBytes = 64;
/** State behind the restart and the memory, written in transactions of as many as the API takes. */
const bigKeys = options.quick ? 50_000 : 1_000_000;
const keysATransaction = 64;
const writersOfBigState = 16;
/** Reading a million keys back (ms). */
const restartLimitMs = 600_000;
/** At least the peer's throughput from this many clients on, and its 99th percentile. */
const goalFromClients = 32;
const settleMs = 2_000;

interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly less: boolean;
  readonly goal: boolean;
}

const found = new Map<string, { readonly figure: Figure; readonly values: Map<Kind, number[]> }>();

function note(kind: Kind, value: number, figure: Figure): void {
  const row = found.get(figure.name) ?? { figure, values: new Map<Kind, number[]>() };
  row.values.set(kind, [...(row.values.get(kind) ?? []), value]);
  found.set(figure.name, row);
}

interface Load {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** PUTs over so many connections. @throws when an answer is no success */
async function puts(target: Member, clients: number, seconds: number): Promise<Load> {
  const folder = mkdtempSync(join(tmpdir(), 'portolan-load-'));
  try {
    const script = join(folder, 'put.lua');
    writeFileSync(
      script,
      `local made = 0
local body = string.rep('x', ${valueBytes})
request = function()
  made = made + 1
  return wrk.format('PUT', '/v1/kv/bench/' .. (made % ${keys}), nil, body .. made)
end
`,
    );
    const words = ['-t1', `-c${clients}`, `-d${seconds}s`, '--timeout', '30s', '--latency', '-s', script];
    const { stdout } = await run('wrk', [...words, `http://${target.address}:${ports.http}/`]);
    if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`${target.name} failed under load:\n${stdout}`);
    const latency = (share: number): number => {
      const [, number = '', unit = ''] = new RegExp(`${share}%\\s+([\\d.]+)(us|ms|s)`).exec(stdout) ?? [];
      return Number(number) * { us: 1e-3, ms: 1, s: 1e3 }[unit as 'us' | 'ms' | 's'];
    };
    const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)![1]);
    return { perSecond, p50Ms: latency(50), p99Ms: latency(99) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function noteLoad(kind: Kind, what: string, load: Load, goal: boolean): void {
  note(kind, load.perSecond, { name: `${what}, writes/s`, unit: '', less: false, goal });
  note(kind, load.p50Ms, { name: `${what}, p50`, unit: 'ms', less: true, goal: false });
  note(kind, load.p99Ms, { name: `${what}, p99`, unit: 'ms', less: true, goal });
}

async function measure(kind: Kind, consul: string, servers: number): Promise<void> {
  const cluster = new Cluster({
    network: new Network(),
    consul,
    config: { log_level: 'warn', performance: {}, limits: { http_max_conns_per_client: 1_000 } },
    serverConfig: { bootstrap_expect: servers },
  });
  try {
    for (let number = 1; number <= servers; number++) cluster.add({ name: `s${number}`, kind, server: true });
    await cluster.startAll();
    const leader = await cluster.leader();
    const label = servers === 1 ? '1 server' : `${servers} servers`;
    await puts(leader, goalFromClients, warmUpS);
    for (const clients of clientCounts) {
      const load = await puts(leader, clients, loadS);
      noteLoad(kind, `${label}: PUT by ${clients}`, load, clients >= goalFromClients);
    }
    await whileSnapshots(cluster, leader, async () => {
      const load = await puts(leader, goalFromClients, loadS);
      noteLoad(kind, `${label}: PUT by ${goalFromClients} beside snapshots`, load, false);
    });
    if (servers === 1) await measureBigState(kind, leader);
  } finally {
    await cluster.close();
  }
}

/** Saves one snapshot after the other until `body` is done. */
async function whileSnapshots(cluster: Cluster, leader: Member, body: () => Promise<void>): Promise<void> {
  const state = { going: true };
  const saving = (async () => {
    const file = join(leader.host.directory, 'saved.snap');
    while (state.going) {
      const { code, stderr } = await cluster.cli(leader, 'consul', ['snapshot', 'save', file]);
      if (code !== 0) throw new Error(`snapshot save: ${stderr}`);
    }
  })();
  try {
    await body();
  } finally {
    state.going = false;
    await saving;
  }
}

async function measureBigState(kind: Kind, server: Member): Promise<void> {
  const value = Buffer.alloc(valueBytes, 'x').toString('base64');
  let next = 0;
  const write = async (): Promise<void> => {
    while (next < bigKeys) {
      const first = next;
      next += keysATransaction;
      const count = Math.min(keysATransaction, bigKeys - first);
      const operations = Array.from({ length: count }, (_, at) => ({
        KV: { Verb: 'set', Key: `big/${String(first + at).padStart(8, '0')}`, Value: value },
      }));
      await server.put('/v1/txn', operations, { timeoutMs: 60_000 });
    }
  };
  await Promise.all(Array.from({ length: writersOfBigState }, write));
  await pause(settleMs);
  const label = `${bigKeys.toLocaleString('en')} keys`;
  note(kind, server.residentBytes / 1e6, { name: `memory with ${label}`, unit: 'MB', less: true, goal: false });
  await server.kill();
  const startMs = performance.now();
  server.start();
  await waitUntil(
    () => `${server.name} to answer again\n${server.logTail}`,
    async () => {
      if (server.gaveUp) throw new Error(server.logTail);
      const answer = await server
        .request('GET', `/v1/kv/big/00000001?consistent`, { timeoutMs: restartLimitMs })
        .catch(() => undefined);
      return answer?.status === 200;
    },
    restartLimitMs,
  );
  note(kind, (performance.now() - startMs) / 1_000, {
    name: `restart with ${label}, to the first consistent answer`,
    unit: 's',
    less: true,
    goal: false,
  });
}

function section(): Section {
  const bars: Bar[] = [];
  const rows = [...found.values()].map(({ figure, values }) => {
    const { name, unit, less, goal } = figure;
    const [ours, theirs] = [median(values.get('portolan') ?? []), median(values.get('consul') ?? [])];
    const better = less ? theirs / ours : ours / theirs;
    bars.push({ name, value: better, text: `${show(ours)} to ${show(theirs, unit)}`, ...(goal ? { goal: 1 } : {}) });
    const cells = [name, show(ours, unit), show(theirs, unit), better.toFixed(2)];
    return goal ? { cells, kept: better >= 1 } : { cells };
  });
  return {
    title: 'Servers with their log on disk',
    method: `Each acknowledged write is synced to disk by a majority, both. Values of ${valueBytes} bytes, \`wrk\` at the leader, ${rounds} alternating rounds of ${loadS} s a load, medians; every server in a network namespace of this machine, default timing. Goal: from ${goalFromClients} clients on at least the peer's throughput, and no worse a 99th percentile. Times as good as the peer in the last column.`,
    columns: ['', 'Portolan', 'Consul', 'times as good'],
    rows,
    bars: { title: 'Portolan servers beside Consul servers: times as good', bars },
    data: Object.fromEntries([...found].map(([name, { values }]) => [name, Object.fromEntries(values)])),
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function missing(): string | undefined {
  const reason = namespacesSkipReason();
  if (reason !== undefined) return reason;
  try {
    execFileSync('sh', ['-c', 'command -v wrk'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'install wrk';
  }
}

const peer = consulOrReason(root);
const reason = typeof peer === 'string' ? peer : missing();
if (typeof peer === 'string' || reason !== undefined) {
  process.stderr.write(`bench:servers cannot run: ${reason}\n`);
  process.exit(1);
}
const loadAtStart = loadavg()[0]!;
for (const servers of options.servers === undefined ? [1, 3] : [Number(options.servers)]) {
  for (let round = 0; round < rounds; round++) {
    const kinds: readonly Kind[] = round % 2 === 0 ? ['portolan', 'consul'] : ['consul', 'portolan'];
    for (const kind of kinds) {
      progress(`servers: ${servers} of ${kind}, round ${round + 1} of ${rounds}`);
      await measure(kind, peer.command[0]!, servers);
    }
  }
}
const result = section();
printSection(result, process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '');
const results = join(root, 'test', 'bench', 'results');
writeReport(results, options.record, describeMachine(root, loadAtStart), [result], 'npm run bench:servers');
process.exitCode = result.rows.some(({ kept }) => kept === false) ? 1 : 0;
