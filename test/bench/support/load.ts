/** Load from the usual generators, wrk and dnsperf, and what they say about the answers. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { quantile } from './stats.ts';
import type { RunningSubject } from './subject.ts';

const run = promisify(execFile);

export interface Throughput {
  /** Answers a second. */
  readonly perSecond: number;
  readonly p99Ms: number;
  /** Processor time of the server for one answer (µs); what others do on the machine changes it little. */
  readonly processorUs: number;
}

export interface HttpLoad {
  readonly path: string;
  readonly connections: number;
  /** Makes each request a PUT of this. */
  readonly body?: string;
  /** So many keys below `path` are written in turn. */
  readonly keys?: number;
}

/** Questions under way at a time. */
const questionsUnderWay = 16;
/** Answers of which the latencies are looked at one by one; writing them down slows the generator. */
const latencySample = 20_000;
const latencySampleS = 1;

/** @throws when an answer is no success. */
export async function httpLoad(subject: RunningSubject, load: HttpLoad, seconds: number): Promise<Throughput> {
  return await inFolder(async (folder) => {
    const { path, connections, body, keys = 0 } = load;
    const words = ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', '--timeout', '10s'];
    if (body !== undefined) {
      const script = join(folder, 'put.lua');
      const target = keys === 0 ? `'${path}'` : `'${path}' .. (made % ${keys})`;
      writeFileSync(
        script,
        `local made = 0
local body = [==[${body}]==]
request = function()
  made = made + 1
  return wrk.format('PUT', ${target}, nil, body)
end
`,
      );
      words.push('-s', script);
    }
    const beforeMs = subject.processorMs();
    const { stdout } = await run('wrk', [...words, `http://${subject.address}:${subject.target.port}${path}`]);
    const usedMs = subject.processorMs() - beforeMs;
    if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`${subject.name} failed under load:\n${stdout}`);
    const [, number = '', unit = ''] = /99%\s+([\d.]+)(us|ms|s)/.exec(stdout) ?? [];
    return {
      perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)![1]),
      processorUs: (usedMs * 1e3) / Number(/(\d+) requests in/.exec(stdout)![1]),
      p99Ms: Number(number) * { us: 1e-3, ms: 1, s: 1e3 }[unit as 'us' | 'ms' | 's'],
    };
  });
}

/** The 99th percentile comes from a short run of its own. @throws when an answer is no success or too many are lost. */
export async function dnsLoad(
  subject: RunningSubject,
  question: { readonly name: string; readonly type: 'A' | 'SRV'; readonly edns: boolean },
  seconds: number,
): Promise<Throughput> {
  return await inFolder(async (folder) => {
    const questions = join(folder, 'questions');
    writeFileSync(questions, `${question.name} ${question.type}\n`);
    const words = [
      '-s',
      subject.address,
      '-p',
      String(subject.dnsPort),
      '-q',
      String(questionsUnderWay),
      '-d',
      questions,
    ];
    if (question.edns) words.push('-e');
    const beforeMs = subject.processorMs();
    const { stdout } = await run('dnsperf', [...words, '-l', String(seconds)]);
    const usedMs = subject.processorMs() - beforeMs;
    if (!/Response codes:\s+NOERROR \d+ \(100\.00%\)/.test(stdout)) {
      throw new Error(`${subject.name} failed under load:\n${stdout}`);
    }
    const said = join(folder, 'latencies');
    const command = ['dnsperf', ...words, '-v', '-n', String(latencySample), '-l', String(latencySampleS)].join(' ');
    await run('sh', ['-c', `${command} >${said}`]);
    const latencies = [...readFileSync(said, 'utf8').matchAll(/^> NOERROR .* ([\d.]+)$/gm)].map(
      ([, s]) => Number(s) * 1e3,
    );
    return {
      perSecond: Number(/Queries per second:\s+([\d.]+)/.exec(stdout)![1]),
      processorUs: (usedMs * 1e3) / Number(/Queries completed:\s+(\d+)/.exec(stdout)![1]),
      p99Ms: quantile(latencies, 0.99),
    };
  });
}

/** What keeps the generators from running, if anything. */
export function missingTool(): string | undefined {
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

async function inFolder<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'portolan-load-'));
  try {
    return await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
