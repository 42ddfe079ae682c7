import { RemoteExecution, type RemoteNews } from '../../client/index.ts';
import { compileGoRegexp } from '../../codec/index.ts';
import { SystemClock } from '../../node/system-clock.ts';
import { sleep } from '../../ports/index.ts';
import { attempt, CliError, command } from '../command.ts';
import { serverFlags } from '../flags.ts';
import { readData } from '../kv.ts';

/** Folder of the KV store that jobs are put in. */
const prefixDefault = '_rexec';
/** Silence after which nobody is waited for any more, ms. */
const waitMsDefault = 2000;
/** Time for the job to reach all servers before the event tells of it, ms. */
const replicationMsDefault = 200;
/** Exit code when a command failed on some node. */
const failedExitCode = 2;

export const exec = command({
  name: 'exec',
  operands: '[-|command...]',
  summary: 'Run a command on many nodes',
  description: [
    'Runs a command on the nodes that -node, -service and -tag (regular expressions) name, and prints what it says there. "-" runs the script on standard input. Agents take part only with disable_remote_exec = false. Ends with exit code 2 when the command failed on some node.',
  ],
  flags: {
    ...serverFlags,
    node: { kind: 'string', value: 'REGEXP', help: 'Only nodes of these names.' },
    service: { kind: 'string', value: 'REGEXP', help: 'Only nodes that have such a service.' },
    tag: { kind: 'string', value: 'REGEXP', help: 'With -service: only if the service has such a tag.' },
    prefix: { kind: 'string', value: 'PREFIX', help: 'Folder of the KV store to work in. Default _rexec.' },
    shell: { kind: 'bool', help: 'Let a shell read the command. Default true.' },
    wait: {
      kind: 'duration',
      value: 'DURATION',
      help: 'Silence after which the command counts as done; twice as long while nodes are at work. Default 2s.',
    },
    'wait-repl': {
      kind: 'duration',
      value: 'DURATION',
      help: 'Time for the command to reach all servers. Default 200ms.',
    },
    verbose: { kind: 'bool', help: 'Say what is done.' },
  },
  async run({ io, values, args, out, warn, client }) {
    const { node = '', service = '', tag = '', prefix = prefixDefault, shell = true, verbose = false } = values;
    const { wait: waitMs = waitMsDefault } = values;
    const fromStdin = args.length === 1 && args[0] === '-';
    if (fromStdin && !shell) throw new CliError('Cannot configure -shell=false when reading from stdin');
    const script = fromStdin ? await readData('-', io) : Buffer.alloc(0);
    if (script.length === 0 && (fromStdin || args.length === 0)) {
      throw new CliError('Must specify a command to execute', { usage: true });
    }
    if (tag !== '' && service === '') throw new CliError('Cannot provide tag filter without service filter.');
    for (const [kind, pattern] of Object.entries({ node, service, tag })) checkPattern(kind, pattern);

    const agent = client();
    const clock = new SystemClock();
    const { Config: local } = await attempt(
      'Error querying Consul agent',
      agent.json<{ Config: { Datacenter: string; NodeName: string } }>('GET', '/v1/agent/self'),
    );
    const isForeign = values.datacenter !== undefined && values.datacenter !== local.Datacenter;
    const execution = await attempt(
      'Failed to create session',
      RemoteExecution.begin(
        agent,
        clock,
        prefix,
        isForeign ? { node: local.NodeName, datacenter: local.Datacenter } : undefined,
      ),
    );
    const stop = new AbortController();
    const removeHandler = io.onSignal(() => stop.abort());
    const say = (line: string): void => void (verbose && out(line));
    try {
      say(`Created remote execution session: ${execution.session}`);
      const job = { command: fromStdin || !shell ? '' : args.join(' '), args: shell ? [] : args, script, waitMs };
      await attempt('Failed to create job file', execution.upload(job));
      say('Uploaded remote execution spec');
      await sleep(clock, values['wait-repl'] ?? replicationMsDefault, stop.signal);
      const id = await attempt('Failed to fire event', execution.fire({ node, service, tag }));
      say(`Fired remote execution event: ${id}`);
      const startMs = clock.monotonicMs();
      const tally = await followResults(execution, clock, waitMs, stop.signal, (news) => print(news, verbose, out));
      out(`${tally.completed} / ${tally.acknowledged} node(s) completed / acknowledged`);
      say(`Completed in ${((clock.monotonicMs() - startMs) / 1000).toFixed(2)} seconds`);
      return tally.failed || tally.completed < tally.acknowledged ? failedExitCode : 0;
    } catch (error) {
      if (!stop.signal.aborted) throw error;
      warn('Interrupted; what runs on the nodes runs on, but nothing is heard of it.');
      return 1;
    } finally {
      removeHandler();
      await execution.destroy();
    }
  },
});

function checkPattern(kind: string, pattern: string): void {
  try {
    compileGoRegexp(pattern);
  } catch (error) {
    throw new CliError(`Failed to compile ${kind} filter regexp: ${(error as Error).message}`, { cause: error });
  }
}

interface Tally {
  acknowledged: number;
  completed: number;
  /** Some node ended with another code than 0. */
  failed: boolean;
}

/** Tells of the news until there is silence: nobody says when all nodes have answered. */
async function followResults(
  execution: RemoteExecution,
  clock: SystemClock,
  waitMs: number,
  signal: AbortSignal,
  tell: (news: RemoteNews) => void,
): Promise<Tally> {
  const tally: Tally = { acknowledged: 0, completed: 0, failed: false };
  const silence = new AbortController();
  const either = AbortSignal.any([signal, silence.signal]);
  const restart = (): (() => void) => {
    const timer = clock.after(tally.acknowledged > tally.completed ? 2 * waitMs : waitMs, () => silence.abort());
    return () => timer.cancel();
  };
  let cancel = restart();
  let index = '';
  try {
    for (;;) {
      const results = await execution.results(index, waitMs, either);
      ({ index } = results);
      for (const news of results.news) {
        if (news.kind === 'acknowledged') tally.acknowledged++;
        if (news.kind === 'exit') {
          tally.completed++;
          if (news.code !== 0) tally.failed = true;
        }
        tell(news);
        cancel();
        cancel = restart();
      }
    }
  } catch (error) {
    if (silence.signal.aborted && !signal.aborted) return tally;
    throw new CliError(`Failed to read results: ${(error as Error).message}`, { cause: error });
  } finally {
    cancel();
  }
}

function print(news: RemoteNews, verbose: boolean, out: (line: string) => void): void {
  switch (news.kind) {
    case 'acknowledged':
      if (verbose) out(`==> ${news.node}: acknowledged`);
      return;
    case 'alive':
      if (verbose) out(`==> ${news.node}: heartbeat received`);
      return;
    case 'output':
      for (const line of news.output.toString('utf8').split('\n')) out(`    ${news.node}: ${line}`.trimEnd());
      return;
    case 'exit':
      out(`==> ${news.node}: finished with exit code ${news.code}`);
  }
}
