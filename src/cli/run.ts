/**
 * The program's front: finds the command in the table, runs it, gives the exit code. Help goes to stdout with code 0;
 * without a command the list goes to stderr with code 127, as scripts know it (reference/agent.md §1.1).
 */
import { asksForHelp, type CliDependencies, type CliIo } from './command.ts';
import { setUpCompletion } from './commands/completion.ts';
import { writeVersion } from './commands/version.ts';
import { completionNodes, findCommand, overview } from './table.ts';

const noCommandExitCode = 127;

/** Runs the command line `argv` (without program name) and resolves with the exit code; it never ends the process. */
export async function runCli(argv: readonly string[], io: CliIo, dependencies: CliDependencies): Promise<number> {
  const [first] = argv;
  if (first === '-v' || first === '-version' || first === '--version') {
    writeVersion(io, dependencies.version);
    return 0;
  }
  const found = findCommand(argv);
  if (found.kind === 'command') return found.command.execute(found.argv, io, dependencies);
  if (first === '-autocomplete-install' || first === '-autocomplete-uninstall') {
    return setUpCompletion(io, first === '-autocomplete-install', completionNodes());
  }
  const help = found.kind === 'group' ? found.help : overview();
  if (asksForHelp(argv)) {
    io.stdout.write(`${help}\n`);
    return 0;
  }
  io.stderr.write(`${help}\n${found.hint}`);
  return found.kind === 'group' ? 1 : noCommandExitCode;
}
