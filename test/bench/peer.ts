/**
 * Portolan and the real Consul with the same words on the same machine, one after the other in alternating rounds. What
 * is told apart is the ratio: absolute numbers are the machine's.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Context } from './support/context.ts';
import { progress, type Section, show } from './support/report.ts';
import { median } from './support/stats.ts';
import { consulOrReason, portolan, RunningSubject, type Subject } from './support/subject.ts';

const run = promisify(execFile);

const rounds = 5;
const quickRounds = 1;
/** Length of one load (s); one of `warmUpS` before it does not count. */
const loadS = 5;
const quickLoadS = 1;
const warmUpS = 1;
/** Connections of wrk, and questions under way of dnsperf. */
const connections = 16;
/** From leader to the look at the memory (ms). */
const settleMs = 3_000;
const instances = 5;
const port = 21_200;

interface Measure {
  readonly name: string;
  /** Whether less is better. */
  readonly less: boolean;
  readonly take: (subject: RunningSubject, seconds: number) => Promise<number>;
}

const measures: readonly Measure[] = [
  {
    name: `GET health of ${instances} instances, answers/s`,
    less: false,
    take: (subject, seconds) => wrk(subject, '/v1/health/service/web', seconds),
  },
  {
    name: 'GET of a KV pair, answers/s',
    less: false,
    take: (subject, seconds) => wrk(subject, '/v1/kv/bench', seconds),
  },
  { name: 'DNS A, answers/s', less: false, take: (subject, seconds) => dnsperf(subject, 'A', seconds) },
  { name: 'DNS SRV, answers/s', less: false, take: (subject, seconds) => dnsperf(subject, 'SRV', seconds) },
];
const idleMemory = 'resident memory after the start, MB';
const loadedMemory = 'resident memory after the loads, MB';

export async function measurePeer(context: Context): Promise<Section> {
  const peer = consulOrReason(context.root);
  const title = 'Portolan and Consul';
  const reason = typeof peer === 'string' ? peer : missingTool();
  if (typeof peer === 'string' || reason !== undefined) {
    return { title, method: `Skipped: ${reason}`, columns: ['skipped'], rows: [], data: null };
  }
  const subjects = [portolan(context.bundle), peer] as const;
  const found = new Map<string, Map<string, number[]>>();
  const note = (what: string, name: string, value: number): void => {
    const row = found.get(what) ?? new Map<string, number[]>();
    found.set(what, row.set(name, [...(row.get(name) ?? []), value]));
  };
  const total = context.quick ? quickRounds : rounds;
  for (let round = 0; round < total; round++) {
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
      progress(`peer: round ${round + 1} of ${total}, ${subject.name}`);
      await measureOne(subject, context.quick ? quickLoadS : loadS, note);
    }
  }
  const [ours, theirs] = subjects;
  return {
    title,
    method: `\`-dev -log-level=warn\` both, loopback, ${total} alternating rounds of ${context.quick ? quickLoadS : loadS} s a load; medians. The load generator (wrk with ${connections} connections, dnsperf with ${connections} questions under way) shares the machine.`,
    columns: ['', ours.name, theirs.name, 'ratio', ''],
    rows: [...found].map(([what, row]) => {
      const [our, their] = [median(row.get(ours.name)!), median(row.get(theirs.name)!)];
      const ratio = our / their;
      const less = measures.every(({ name }) => name !== what);
      return { cells: [what, show(our), show(their), ratio.toFixed(2), ratio < 1 === less ? 'better' : 'worse'] };
    }),
    data: Object.fromEntries([...found].map(([what, row]) => [what, Object.fromEntries(row)])),
  };
}

async function measureOne(
  subject: Subject,
  seconds: number,
  note: (what: string, name: string, value: number) => void,
): Promise<void> {
  const running = new RunningSubject(subject, { port });
  try {
    await running.started();
    await pause(settleMs);
    note(idleMemory, subject.name, running.residentBytes() / 1e6);
    await fill(running);
    for (const { name, take } of measures) {
      await take(running, warmUpS);
      note(name, subject.name, await take(running, seconds));
    }
    note(loadedMemory, subject.name, running.residentBytes() / 1e6);
  } finally {
    await running.stop();
  }
}

/** The same content for both, and proof that it is there. */
async function fill(subject: RunningSubject): Promise<void> {
  for (let made = 1; made <= instances; made++) {
    await subject.put('/v1/agent/service/register', {
      ID: `web-${made}`,
      Name: 'web',
      Tags: ['v1', `rack-${made}`],
      Address: `192.0.2.${made}`,
      Port: 8000 + made,
      Meta: { version: '1.0.0' },
      Check: { TTL: '10m', Status: 'passing' },
    });
  }
  await subject.put('/v1/kv/bench', 'x'.repeat(100));
  const web = await subject.get<{ Checks: unknown[] }[]>('/v1/health/service/web?passing');
  if (web.length !== instances) throw new Error(`${subject.name} knows ${web.length} of ${instances} instances`);
}

/** @returns answers a second. @throws when one is no success. */
async function wrk(subject: RunningSubject, path: string, seconds: number): Promise<number> {
  const url = `http://${subject.address}:${subject.target.port}${path}`;
  const { stdout } = await run('wrk', ['-t1', `-c${connections}`, `-d${seconds}s`, url]);
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`${subject.name} failed under load:\n${stdout}`);
  return Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)![1]);
}

/** @returns answers a second. @throws when one is no success or too many are lost. */
async function dnsperf(subject: RunningSubject, type: 'A' | 'SRV', seconds: number): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'portolan-dnsperf-'));
  try {
    const questions = join(folder, 'questions');
    writeFileSync(questions, `web.service.consul ${type}\n`);
    const where = `-s ${subject.address} -p ${subject.dnsPort}`;
    const load = `-l ${seconds} -q ${connections}`;
    const { stdout } = await run('dnsperf', [...where.split(' '), ...load.split(' '), '-d', questions]);
    if (!/Response codes:\s+NOERROR \d+ \(100\.00%\)/.test(stdout)) {
      throw new Error(`${subject.name} failed under load:\n${stdout}`);
    }
    return Number(/Queries per second:\s+([\d.]+)/.exec(stdout)![1]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function missingTool(): string | undefined {
  const missing = ['wrk', 'dnsperf'].filter((tool) => {
    try {
      execFileSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' });
      return false;
    } catch {
      return true;
    }
  });
  return missing.length === 0 ? undefined : `install ${missing.join(' and ')}`;
}
