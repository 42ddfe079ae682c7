import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { gzipSync } from 'node:zlib';
import { type AgentClient, goFileError } from '../../client/index.ts';
import { formatGoDurationMs, writeTar } from '../../codec/index.ts';
import { SystemClock } from '../../node/system-clock.ts';
import { type Clock, sleep } from '../../ports/index.ts';
import { attempt, CliError, command } from '../command.ts';
import { clientFlags } from '../flags.ts';
import { indentedJson } from '../json.ts';

const durationMsDefault = 120_000;
const intervalMsDefault = 30_000;
/** Shorter ones say nothing about an agent, ms; as the reference program. */
const durationMsMin = 10_000;
const intervalMsMin = 5000;
/** Time beyond the interval that a profile may take to be answered, ms. */
const profileGraceMs = 30_000;
/** Version of the form of what is saved. */
const formatVersion = 1;
/** It may hold addresses, names and texts that are nobody else's business. */
const folderMode = 0o700;
const fileMode = 0o600;

const targets = ['metrics', 'logs', 'pprof', 'host', 'agent', 'cluster'] as const;
type Target = (typeof targets)[number];

/** What `/v1/agent/self` says that matters here. */
interface Self {
  readonly Config: { readonly Version: string };
  readonly DebugConfig: { readonly EnableDebug?: boolean };
}

export const debug = command({
  name: 'debug',
  summary: 'Record what an agent does, for those who look into a problem',
  description: [
    "Records an agent for some time: its configuration, host and members once, its metrics, log and (with enable_debug, where the agent has them) profiles at intervals, into a folder or an archive. Look through it before you give it away: it holds the agent's configuration.",
  ],
  flags: {
    ...clientFlags,
    duration: { kind: 'duration', value: 'DURATION', help: 'Time to record, at least 10s. Default 2m.' },
    interval: { kind: 'duration', value: 'DURATION', help: 'Time between two records, at least 5s. Default 30s.' },
    output: { kind: 'string', value: 'PATH', help: 'Folder, or archive without .tar.gz. Default consul-debug-TIME.' },
    archive: { kind: 'bool', help: 'Make an archive of the folder. Default true.' },
    capture: {
      kind: 'list',
      value: 'WHAT',
      help: `One of ${targets.join(', ')}. May be given several times. Default: all.`,
    },
  },
  async run({ io, values, args, out, warn, client }) {
    if (args.length > 0) throw new CliError('==> debug: Too many arguments provided, expected 0');
    const clock = new SystemClock();
    const {
      duration: durationMs = durationMsDefault,
      interval: intervalMs = intervalMsDefault,
      archive = true,
    } = values;
    const folder = values.output ?? `consul-debug-${unixSeconds(clock)}`;
    const agent = client();
    const { self, wanted } = await attempt(
      '==> Capture validation failed',
      validate(agent, durationMs, intervalMs, folder, values.capture ?? []),
    );
    const isProfiled = wanted.includes('pprof') && self.DebugConfig.EnableDebug === true;
    const shown = { Interval: formatGoDurationMs(intervalMs), Duration: formatGoDurationMs(durationMs) };
    out('==> Starting debugger and capturing static information...');
    const facts = {
      'Agent Version': self.Config.Version,
      ...shown,
      Output: archive ? `${folder}.tar.gz` : folder,
      Capture: wanted.join(', '),
    };
    for (const [name, value] of Object.entries(facts)) out(`${name.padStart(18)}: '${value}'`);
    if (wanted.includes('pprof') && !isProfiled) {
      warn('No profiles: set enable_debug to true on the agent to have them.');
    }

    const stop = new AbortController();
    const removeHandler = io.onSignal(() => stop.abort());
    try {
      const save = (name: string, content: unknown): void =>
        writeFileSync(join(folder, name), jsonFile(content), saved);
      mkdirSync(folder, { mode: folderMode });
      save('index.json', {
        Version: formatVersion,
        AgentVersion: self.Config.Version,
        ...shown,
        Targets: wanted,
      });
      if (wanted.includes('agent')) save('agent.json', self);
      if (wanted.includes('host')) save('host.json', await agent.json('GET', '/v1/agent/host'));
      if (wanted.includes('cluster')) {
        save('cluster.json', await agent.json('GET', '/v1/agent/members', { query: { wan: '1' } }));
      }
      out(`==> Beginning capture interval ${goTimeText(clock)} (0)`);
      const rounds = Math.floor(durationMs / intervalMs);
      for (let round = 1; round <= rounds && !stop.signal.aborted; round++) {
        const into = join(folder, String(unixSeconds(clock)));
        mkdirSync(into, { mode: folderMode });
        const recording = { agent, clock, into, intervalMs, signal: stop.signal, warn };
        const running = [sleep(clock, intervalMs, stop.signal).catch(() => undefined)];
        if (wanted.includes('logs')) running.push(recordLog(recording));
        if (isProfiled) running.push(recordProfiles(recording, round === 1));
        if (wanted.includes('metrics')) await recordMetrics(recording);
        out(`==> Capture successful ${goTimeText(clock).replace(/\.\d+/, '')} (${round})`);
        await Promise.all(running);
      }
      if (archive) {
        writeFileSync(`${folder}.tar.gz`, gzipSync(archiveOf(folder)), saved);
        rmSync(folder, { recursive: true });
      }
    } catch (error) {
      const { syscall, path = folder } = error as NodeJS.ErrnoException;
      if (syscall === undefined)
        throw new CliError(`==> Capture failed: ${(error as Error).message}`, { cause: error });
      throw new CliError(`==> Capture failed: ${goFileError(syscall, path, error)}`, { cause: error });
    } finally {
      removeHandler();
    }
    out(`    Saved debug archive: ${archive ? `${folder}.tar.gz` : folder}`);
    return 0;
  },
});

const saved = { mode: fileMode } as const;

async function validate(
  agent: AgentClient,
  durationMs: number,
  intervalMs: number,
  folder: string,
  capture: readonly string[],
): Promise<{ readonly self: Self; readonly wanted: readonly Target[] }> {
  if (durationMs < durationMsMin) throw new Error(`duration must be longer than ${formatGoDurationMs(durationMsMin)}`);
  if (intervalMs < intervalMsMin) throw new Error(`interval must be longer than ${formatGoDurationMs(intervalMsMin)}`);
  if (durationMs < intervalMs) {
    throw new Error(
      `duration (${formatGoDurationMs(durationMs)}) must be longer than interval (${formatGoDurationMs(intervalMs)})`,
    );
  }
  const wanted = capture.map((text) => {
    const target = targets.find((one) => one === text);
    if (target === undefined) throw new Error(`target not found: ${text}`);
    return target;
  });
  let self: Self;
  try {
    self = await agent.json<Self>('GET', '/v1/agent/self');
  } catch (error) {
    throw new Error(`error querying target agent: ${(error as Error).message}. verify connectivity and agent address`, {
      cause: error,
    });
  }
  if (existsSync(folder)) throw new Error(`output directory already exists: ${folder}`);
  if (existsSync(`${folder}.tar.gz`)) throw new Error(`archive already exists: ${folder}.tar.gz`);
  return { self, wanted: wanted.length === 0 ? targets : wanted };
}

interface Recording {
  readonly agent: AgentClient;
  readonly clock: Clock;
  readonly into: string;
  readonly intervalMs: number;
  readonly signal: AbortSignal;
  readonly warn: (line: string) => void;
}

async function recordMetrics({ agent, into, warn }: Recording): Promise<void> {
  try {
    writeFileSync(join(into, 'metrics.json'), jsonFile(await agent.json('GET', '/v1/agent/metrics')), saved);
  } catch (error) {
    warn(`No metrics: ${(error as Error).message}`);
  }
}

/** Follows the log for one interval. */
async function recordLog({ agent, clock, into, intervalMs, signal, warn }: Recording): Promise<void> {
  const end = new AbortController();
  const timer = clock.after(intervalMs, () => end.abort());
  const either = AbortSignal.any([signal, end.signal]);
  try {
    const { body } = await agent.stream('GET', '/v1/agent/monitor', { query: { loglevel: 'DEBUG' }, signal: either });
    await pipeline(body, createWriteStream(join(into, 'consul.log'), saved));
  } catch (error) {
    if (!either.aborted) warn(`No log: ${(error as Error).message}`);
  } finally {
    timer.cancel();
  }
}

/** File name and endpoint of each profile; those that take time take the interval. */
const profiles = [
  ['heap.prof', 'heap', false],
  ['goroutine.prof', 'goroutine', false],
  ['profile.prof', 'profile', true],
  ['trace.out', 'trace', true],
] as const;

async function recordProfiles({ agent, into, intervalMs, signal, warn }: Recording, isFirst: boolean): Promise<void> {
  await Promise.all(
    profiles.map(async ([file, name, takesTime]) => {
      try {
        const { body } = await agent.ok('GET', `/debug/pprof/${name}`, {
          query: takesTime ? { seconds: Math.max(1, Math.floor(intervalMs / 1000) - 1) } : {},
          timeoutMs: intervalMs + profileGraceMs,
          signal,
        });
        writeFileSync(join(into, file), body, saved);
      } catch (error) {
        // An agent that is no Go program has none; saying so once is enough.
        if (isFirst && !signal.aborted) warn(`No ${file}: ${(error as Error).message}`);
      }
    }),
  );
}

function archiveOf(folder: string): Buffer {
  const names = (readdirSync(folder, { recursive: true }) as string[]).sort();
  return writeTar(
    names
      .map((name) => ({ name, path: join(folder, name) }))
      .filter(({ path }) => statSync(path).isFile())
      .map(({ name, path }) => ({
        name: `${folder.split('/').at(-1)}/${name}`,
        content: readFileSync(path),
        mtime: Math.floor(statSync(path).mtimeMs / 1000),
      })),
  );
}

function jsonFile(content: unknown): string {
  return indentedJson(content, '\t');
}

function unixSeconds(clock: Clock): number {
  return Math.floor(clock.wallMs() / 1000);
}

/** `2026-11-20 09:55:03.282 +0000 UTC` */
function goTimeText(clock: Clock): string {
  return `${new Date(clock.wallMs()).toISOString().replace('T', ' ').replace('Z', '')} +0000 UTC`;
}
