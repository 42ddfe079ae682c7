/** `connect ca`: the certificate authority of the mesh. */
import { readFileSync } from 'node:fs';
import { goFileError } from '../../client/index.ts';
import { attempt, CliError, command, expectNoArgs } from '../command.ts';
import { serverFlags } from '../flags.ts';
import { parseGoJson } from '../../codec/index.ts';
import { indentedJson } from '../json.ts';

const path = '/v1/connect/ca/configuration';

const getConfig = command({
  name: 'connect ca get-config',
  summary: 'Print the settings of the certificate authority',
  description: ['Prints the settings of the certificate authority of the mesh as JSON.'],
  flags: serverFlags,
  async run({ values, args, out, client }) {
    expectNoArgs(args);
    const config = await attempt(
      'Error querying CA configuration',
      client().json<Readonly<Record<string, unknown>>>('GET', path, { query: { stale: values.stale } }),
    );
    const { Provider, Config, State = null, ForceWithoutCrossSigning, CreateIndex, ModifyIndex } = config;
    // Fields in the order that scripts know.
    out(
      indentedJson(
        {
          Provider,
          Config,
          State,
          ...(ForceWithoutCrossSigning === true && { ForceWithoutCrossSigning }),
          CreateIndex,
          ModifyIndex,
        },
        '\t',
      ),
    );
    return 0;
  },
});

const setConfig = command({
  name: 'connect ca set-config',
  summary: 'Change the settings of the certificate authority',
  description: ['Changes the settings of the certificate authority of the mesh to those in a file, which is JSON.'],
  flags: {
    ...serverFlags,
    'config-file': { kind: 'string', value: 'FILE', help: 'The file. Required.' },
  },
  async run({ values, args, out, client }) {
    expectNoArgs(args);
    const { 'config-file': file = '' } = values;
    if (file === '') throw new CliError('The -config-file flag is required');
    let body: Buffer;
    try {
      body = readFileSync(file);
    } catch (error) {
      throw new CliError(`Error reading config file: ${goFileError('open', file, error)}`, { cause: error });
    }
    try {
      parseGoJson(body);
    } catch (error) {
      throw new CliError(`Error parsing config file: ${(error as Error).message}`, { cause: error });
    }
    await attempt('Error setting CA configuration', client().ok('PUT', path, { body }));
    out('Configuration updated!');
    return 0;
  },
});

export const connectCa = [getConfig, setConfig];
