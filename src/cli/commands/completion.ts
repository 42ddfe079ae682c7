import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CliError, type CliIo, type Command, command } from '../command.ts';
import { type CompletionNode, completionScript, shells } from '../completion.ts';

/** Marks the line in a shell's start file that is ours. */
const mark = '# portolan completion';

/** The command, for the table of commands that it is part of. */
export function completion(nodes: () => readonly CompletionNode[]): Command {
  return command({
    name: 'completion',
    operands: shells.join('|'),
    summary: 'Print the script that completes command lines',
    description: [
      'Prints the completion script for a shell. Try it with "source <(portolan completion bash)"; "portolan -autocomplete-install" sets it up for every new shell, "-autocomplete-uninstall" undoes that.',
    ],
    flags: {},
    run({ io, args }) {
      const shell = shells.find((one) => one === args[0]);
      if (shell === undefined || args.length > 1) throw new CliError(`Name one shell: ${shells.join(', ')}`);
      io.stdout.write(completionScript(shell, nodes()));
      return 0;
    },
  });
}

/** Sets completion up in the start files of the shells that are in use, or takes it out of them. */
export function setUpCompletion(io: CliIo, install: boolean, nodes: readonly CompletionNode[]): number {
  const home = io.env.HOME ?? '';
  if (home === '') {
    io.stderr.write('HOME is not set: it is not known where the start files of the shells are\n');
    return 1;
  }
  const done: string[] = [];
  for (const [shell, file] of [
    ['bash', '.bashrc'],
    ['zsh', '.zshrc'],
  ] as const) {
    const path = join(home, file);
    if (!existsSync(path)) continue;
    const lines = readFileSync(path, 'utf8').split('\n');
    const others = lines.filter((line) => !line.endsWith(mark));
    if (install && others.length === lines.length) {
      const separator = lines.at(-1) === '' ? '' : '\n';
      appendFileSync(
        path,
        `${separator}command -v portolan >/dev/null && source <(portolan completion ${shell}) ${mark}\n`,
      );
      done.push(path);
    }
    if (!install && others.length < lines.length) {
      writeFileSync(path, others.join('\n'));
      done.push(path);
    }
  }
  const fishFolder = join(io.env.XDG_CONFIG_HOME ?? join(home, '.config'), 'fish');
  const fishFile = join(fishFolder, 'completions', 'portolan.fish');
  if (install && existsSync(fishFolder)) {
    mkdirSync(dirname(fishFile), { recursive: true });
    writeFileSync(fishFile, completionScript('fish', nodes));
    done.push(fishFile);
  }
  if (!install && existsSync(fishFile)) {
    rmSync(fishFile);
    done.push(fishFile);
  }
  const nothing = install
    ? 'Nothing to do: no start file of bash, zsh or fish without completion was found'
    : 'Nothing to do: completion is not installed';
  io.stdout.write(done.length === 0 ? `${nothing}\n` : done.map((path) => `Changed ${path}\n`).join(''));
  return 0;
}
