import { configFormats } from '../../config/index.ts';
import { CliError, command } from '../command.ts';
import { loadConfigPaths } from '../config-paths.ts';

export const validate = command({
  name: 'validate',
  operands: 'FILE_OR_DIRECTORY ...',
  summary: 'Check configuration files',
  description: ['Reads configuration files and directories as the agent would and tells what is wrong with them.'],
  flags: {
    'config-format': { kind: 'string', value: 'FORMAT', help: `Format of all files: ${configFormats.join(', ')}.` },
    quiet: { kind: 'bool', help: 'Print nothing when the configuration is valid, warnings neither.' },
  },
  run({ values, args, out, warn }) {
    if (args.length === 0) throw new CliError('Must specify at least one config file or directory');
    const given = values['config-format'];
    const format = configFormats.find((each) => each === given);
    if (given !== undefined && format === undefined) {
      throw new CliError(`-config-format must be one of ${configFormats.join(', ')}`);
    }
    let warnings: readonly string[];
    try {
      ({ warnings } = loadConfigPaths(args, { format }));
    } catch (error) {
      throw new CliError(`Config validation failed: ${(error as Error).message}`, { cause: error });
    }
    if (values.quiet) return 0;
    for (const warning of warnings) warn(warning);
    out('Configuration is valid!');
    return 0;
  },
});
