/** What one member costs in a pool of 5,000: it runs in a process of its own, this one plays all the others. */
import { fork, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { progress, type Section, show } from '../support/report.ts';
import type { Chart } from './chart.ts';
import { Crowd } from './crowd.ts';

const peers = 5_000;
const peersQuick = 500;
const windowMs = 120_000;
const windowQuickMs = 10_000;
/** The member tells of every peer it has learnt of, in the answers to pings; asked so often, it has done so soon. */
const warmUpPingsPerSecond = 500;
/** It has when it sends little more than its own pings, bytes a second. */
const quietBytesPerSecond = 1_000;
/** Then the engine gets some time to calm down, too. */
const settleMs = 15_000;
/** Of one core (issue 4). */
const cpuShareMax = 0.05;
const subject = { address: '127.0.50.1', port: 17_947 };

/** What the member under measurement says every second. */
export interface Usage {
  readonly cpuMs: number;
  readonly wallMs: number;
  readonly residentBytes: number;
  readonly heapBytes: number;
  readonly members: number;
  /** Longest pause of its event loop since the last report. */
  readonly longestPauseMs: number;
  readonly sentBytes: number;
  readonly suspicions: number;
}

export async function measureMember(quick: boolean): Promise<{ section: Section; charts: readonly Chart[] }> {
  const count = quick ? peersQuick : peers;
  const alone = await run(0, quick);
  const among = await run(count, quick);
  const mib = (bytes: number): string => show(bytes / 2 ** 20, 'MiB');
  const row = (name: string, measured: Measured, kept?: boolean) => ({
    cells: [
      name,
      show(measured.cpuShare * 100, '%'),
      mib(measured.residentBytes),
      mib(measured.heapBytes),
      show(measured.sentBytesPerSecond),
      show(measured.longestPauseMs, 'ms'),
      show(measured.joinPauseMs, 'ms'),
      String(measured.suspicions),
    ],
    ...(kept === undefined ? {} : { kept }),
  });
  return {
    section: {
      title: `One member among ${count}`,
      method:
        'A real process with a real serf member (LAN profile, compression on) on loopback; another process plays all its ' +
        'peers: answers its pings, pings it once a second as a pool does on average, and exchanges its whole state with ' +
        `it. CPU is the member's own, over ${(quick ? windowQuickMs : windowMs) / 1_000} s in which one push/pull of all members came in, as often as in such ` +
        `a pool (each member takes part in one in 135 s). Pauses are of wall time: on a busy machine they are its own. ` +
        `Limit: ${cpuShareMax * 100} % of a core.`,
      columns: ['peers', 'CPU', 'resident', 'heap', 'packet B/s', 'longest pause', 'pause when joining', 'suspicions'],
      rows: [row('0', alone), row(String(count), among, among.cpuShare < cpuShareMax)],
      data: { alone, among },
    },
    charts: [],
  };
}

interface Measured {
  readonly cpuShare: number;
  readonly residentBytes: number;
  readonly heapBytes: number;
  readonly sentBytesPerSecond: number;
  readonly longestPauseMs: number;
  readonly joinPauseMs: number;
  readonly suspicions: number;
}

async function run(count: number, quick: boolean): Promise<Measured> {
  const crowd = await Crowd.start(count, subject);
  const joinAddress = count === 0 ? '' : crowd.addresses[0]!;
  const child = fork(
    join(process.cwd(), '.cache/bench/gossip-member.mjs'),
    [subject.address, String(subject.port), joinAddress],
    {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      execArgv: [],
    },
  );
  try {
    const reports = reportsOf(child);
    await reports.next((usage) => usage.members === count + 1);
    progress(`member: joined ${count} peers`);
    const joinPauseMs = reports.longestPauseMs();
    crowd.ping(warmUpPingsPerSecond);
    await sleep(5_000);
    crowd.ping(count === 0 ? 0 : 1);
    while (!(await isQuiet(reports))) {
      crowd.ping(warmUpPingsPerSecond);
      await sleep(5_000);
      crowd.ping(1);
    }
    await sleep(quick ? 1_000 : settleMs);
    const before = await reports.next();
    const from = reports.all.length;
    const exchange = setTimeout(() => void crowd.pushPull(), (quick ? windowQuickMs : windowMs) / 2);
    await sleep(quick ? windowQuickMs : windowMs);
    clearTimeout(exchange);
    const after = await reports.next();
    const seen = reports.all.slice(from);
    const wallMs = after.wallMs - before.wallMs;
    return {
      cpuShare: (after.cpuMs - before.cpuMs) / wallMs,
      residentBytes: Math.max(...seen.map(({ residentBytes }) => residentBytes)),
      // What is left after a collection is the smallest of many.
      heapBytes: Math.min(...seen.map(({ heapBytes }) => heapBytes)),
      sentBytesPerSecond: ((after.sentBytes - before.sentBytes) / wallMs) * 1_000,
      longestPauseMs: Math.max(...seen.map(({ longestPauseMs }) => longestPauseMs)),
      joinPauseMs,
      suspicions: after.suspicions,
    };
  } finally {
    child.kill('SIGKILL');
    await crowd.close();
  }
}

async function isQuiet(reports: Reports): Promise<boolean> {
  await reports.next();
  const before = await reports.next();
  const after = await reports.next();
  return ((after.sentBytes - before.sentBytes) / (after.wallMs - before.wallMs)) * 1_000 < quietBytesPerSecond;
}

interface Reports {
  readonly all: readonly Usage[];
  /** The next report for which `accept` holds. */
  next(accept?: (usage: Usage) => boolean): Promise<Usage>;
  longestPauseMs(): number;
}

function reportsOf(child: ChildProcess): Reports {
  const all: Usage[] = [];
  const waiting = new Set<(usage: Usage) => void>();
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const usage = JSON.parse(line) as Usage;
    all.push(usage);
    for (const take of waiting) take(usage);
  });
  return {
    all,
    next: (accept = () => true) =>
      new Promise((resolve, reject) => {
        const fail = (): void => reject(new Error('the member ended'));
        const take = (usage: Usage): void => {
          if (!accept(usage)) return;
          waiting.delete(take);
          child.off('exit', fail);
          resolve(usage);
        };
        child.once('exit', fail);
        waiting.add(take);
      }),
    longestPauseMs: () => Math.max(...all.map(({ longestPauseMs }) => longestPauseMs)),
  };
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
