export type { CliDependencies, CliIo, VersionInfo } from './command.ts';
export { runCli } from './run.ts';
