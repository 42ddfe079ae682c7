/**
 * What a command is: a name, flags in a table, help made from that table, and a function that returns the exit code.
 * Commands print through their context and throw {@link CliError} for everything the user can mend, so each of them
 * runs in a test without a process around it.
 */
import { AgentClient, resolveClientOptions } from '../client/index.ts';
import { FlagError, type FlagKind, type FlagTable, type FlagValues, parseFlags } from '../config/index.ts';
import { SystemClock } from '../node/system-clock.ts';
import { wrap } from './text.ts';

/** The world of one invocation; `main.ts` gives the process's, tests give their own. */
export interface CliIo {
  readonly stdin: AsyncIterable<Uint8Array | string>;
  readonly stdout: { write(data: string | Uint8Array): unknown };
  readonly stderr: { write(data: string | Uint8Array): unknown };
  readonly env: NodeJS.ProcessEnv;
  /** Whether stdout is a terminal. */
  readonly isTTY: boolean;
  /** Calls back for SIGINT and SIGTERM instead of dying, until the returned function is called. */
  onSignal(callback: (signal: NodeJS.Signals) => void): () => void;
}

/** What the commands need from the rest of the program. */
export interface CliDependencies {
  /** Runs the agent with the words after `agent`; resolves with the exit code. */
  readonly runAgent: (argv: readonly string[], io: CliIo) => Promise<number>;
  readonly version: VersionInfo;
}

export interface VersionInfo {
  /** Portolan's own version, `0.1.0`. */
  readonly version: string;
  /** Commit it was built from, "" when unknown. */
  readonly revision: string;
  /** The Consul version whose behaviour is matched, `1.8.7`. */
  readonly consul: string;
}

/** Ends a command: the message goes to stderr as it is. */
export class CliError extends Error {
  readonly exitCode: number;
  /** Print the command's help behind the message. */
  readonly usage: boolean;

  constructor(message: string, { exitCode = 1, usage = false, cause }: CliErrorOptions = {}) {
    super(message, { cause });
    this.name = 'CliError';
    this.exitCode = exitCode;
    this.usage = usage;
  }
}

interface CliErrorOptions {
  readonly exitCode?: number;
  readonly usage?: boolean;
  readonly cause?: unknown;
}

export interface FlagSpec {
  readonly kind: FlagKind;
  readonly help: string;
  /** What stands for the value in the help: `ADDR` in `-http-addr=ADDR`. */
  readonly value?: string;
}
export type FlagSpecs = Readonly<Record<string, FlagSpec>>;
export type ValuesOf<S extends FlagSpecs> = FlagValues<{ readonly [N in keyof S]: S[N]['kind'] }>;

export interface CommandContext<S extends FlagSpecs> {
  readonly io: CliIo;
  readonly dependencies: CliDependencies;
  readonly values: ValuesOf<S>;
  /** The words after the flags. */
  readonly args: readonly string[];
  readonly help: string;
  /** Whether to colour what goes to stdout. */
  readonly color: boolean;
  /** Writes a line to stdout. */
  readonly out: (line: string) => void;
  /** Writes a line to stderr. */
  readonly warn: (line: string) => void;
  /** The agent that the client flags and the environment name; closed when the command ends. */
  readonly client: () => AgentClient;
}

export interface CommandDefinition<S extends FlagSpecs> {
  /** As typed: `kv get`. */
  readonly name: string;
  /** What may follow the flags, for the usage line: `[KEY_OR_PREFIX]`. */
  readonly operands?: string;
  /** One line for lists of commands. */
  readonly summary: string;
  /** Paragraphs for the help. */
  readonly description: readonly string[];
  readonly flags: S;
  /** Exit code for a command line that does not parse. */
  readonly usageExitCode?: number;
  run(context: CommandContext<S>): Promise<number> | number;
}

export interface Command {
  readonly name: string;
  readonly summary: string;
  readonly help: string;
  /** For completion, by name. */
  readonly flags: readonly { readonly name: string; readonly help: string }[];
  /** Runs with the words after the name; resolves with the exit code. */
  execute(argv: readonly string[], io: CliIo, dependencies: CliDependencies): Promise<number>;
}

/** Any long time: the timer does nothing, ms. */
const keepAliveMs = 60_000;

/** Makes a command of its definition. */
export function command<const S extends FlagSpecs>(definition: CommandDefinition<S>): Command {
  const { name, summary, flags, usageExitCode = 1 } = definition;
  const table = Object.fromEntries(Object.entries(flags).map(([flag, { kind }]) => [flag, kind])) satisfies FlagTable;
  const help = helpOf(definition);
  return {
    name,
    summary,
    help,
    flags: Object.keys(flags)
      .sort()
      .map((flag) => ({ name: flag, help: flags[flag]!.help })),
    async execute(argv, io, dependencies) {
      if (asksForHelp(argv)) {
        io.stdout.write(`${help}\n`);
        return 0;
      }
      let client: AgentClient | undefined;
      // Timers of the system clock do not keep the process alive; a command that waits does.
      const alive = setInterval(() => undefined, keepAliveMs);
      try {
        const { values, args } = parseFlags(table, argv);
        return await definition.run({
          io,
          dependencies,
          values: values as ValuesOf<S>,
          args,
          help,
          color: io.isTTY && !io.env.NO_COLOR && io.env.TERM !== 'dumb',
          out: (line) => void io.stdout.write(`${line}\n`),
          warn: (line) => void io.stderr.write(`${line}\n`),
          client: () => (client ??= openClient(io.env, values as Readonly<Record<string, string>>)),
        });
      } catch (error) {
        if (error instanceof FlagError) {
          io.stderr.write(wrongFlagText(error, help));
          return usageExitCode;
        }
        if (!(error instanceof CliError)) throw error;
        io.stderr.write(`${error.message}\n${error.usage ? `\n${help}\n` : ''}`);
        return error.exitCode;
      } finally {
        clearInterval(alive);
        client?.close();
      }
    },
  };
}

/** The reference program looks for a wish for help anywhere before `--`. */
export function asksForHelp(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  return (end === -1 ? argv : argv.slice(0, end)).some((word) => ['-h', '-help', '--help'].includes(word));
}

function openClient(env: NodeJS.ProcessEnv, values: Readonly<Record<string, string>>): AgentClient {
  try {
    const options = resolveClientOptions(env, {
      httpAddr: values['http-addr'],
      token: values.token,
      tokenFile: values['token-file'],
      caFile: values['ca-file'],
      caPath: values['ca-path'],
      clientCert: values['client-cert'],
      clientKey: values['client-key'],
      tlsServerName: values['tls-server-name'],
      datacenter: values.datacenter,
      namespace: values.namespace,
    });
    return new AgentClient(options, new SystemClock());
  } catch (error) {
    throw new CliError(`Error connecting to Consul agent: ${(error as Error).message}`, { cause: error });
  }
}

/** Waits for `work`; an error of the agent or the network ends the command as `prefix: what happened`. */
export async function attempt<T>(prefix: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new CliError(`${prefix}: ${(error as Error).message}`, { cause: error });
  }
}

/** The result of `read`; what it throws ends the command with its message. */
export function settle<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError((error as Error).message, { cause: error });
  }
}

/** Refuses words behind the flags. */
export function expectNoArgs(args: readonly string[]): void {
  if (args.length > 0) throw new CliError(`Too many arguments (expected 0, got ${args.length})`);
}

/** What is printed for flags that do not parse: Go's text, then the usage. */
export function wrongFlagText(error: FlagError, help: string): string {
  return `${error.message}\nUsage:\n${help.replace('Usage:', ' ')}\n`;
}

/** The help of a command, made from its definition. */
export function helpOf({ name, operands, description, flags }: Omit<CommandDefinition<FlagSpecs>, 'run'>): string {
  const lines = [
    `Usage: portolan ${name}${Object.keys(flags).length > 0 ? ' [options]' : ''}${operands ? ` ${operands}` : ''}`,
  ];
  for (const paragraph of description) lines.push('', ...wrap(paragraph, 2));
  if (Object.keys(flags).length > 0) {
    lines.push('', 'Options:');
    for (const flag of Object.keys(flags).sort()) {
      const { kind, help, value = kind === 'map' ? 'KEY=VALUE' : 'VALUE' } = flags[flag]!;
      lines.push('', `  -${flag}${kind === 'bool' ? '' : `=${value}`}`, ...wrap(help, 6));
    }
  }
  return lines.join('\n');
}
