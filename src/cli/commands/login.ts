import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { goFileError } from '../../client/index.ts';
import { attempt, CliError, command } from '../command.ts';
import { namespaceFlag, serverFlags } from '../flags.ts';

/** Only its owner may read a token. */
const sinkMode = 0o600;

export const login = command({
  name: 'login',
  summary: 'Get a token for a proof of who you are',
  description: [
    "Shows the bearer token in a file to an auth method and writes the secret ID of the token that it gives to another file. 'portolan logout' destroys that token.",
  ],
  flags: {
    ...serverFlags,
    ...namespaceFlag,
    method: { kind: 'string', value: 'NAME', help: 'The auth method. Required.' },
    type: { kind: 'string', value: 'TYPE', help: 'Type of the auth method; taken for compatibility.' },
    'bearer-token-file': { kind: 'string', value: 'FILE', help: 'File with the proof, such as a JWT. Required.' },
    'token-sink-file': { kind: 'string', value: 'FILE', help: 'File for the secret ID. Required.' },
    meta: { kind: 'map', help: 'Written into the description of the token. May be given several times.' },
  },
  async run({ values, args, client }) {
    if (args.length > 0) throw new CliError('Should have no non-flag arguments.');
    const { method, 'bearer-token-file': bearerFile, 'token-sink-file': sink } = values;
    if (!method) throw new CliError("Missing required '-method' flag");
    if (!sink) throw new CliError("Missing required '-token-sink-file' flag");
    if (!bearerFile) throw new CliError("Missing required '-bearer-token-file' flag");
    const BearerToken = readBearerToken(bearerFile);
    const token = await attempt(
      'Error logging in',
      client().json<{ readonly SecretID: string }>('POST', '/v1/acl/login', {
        body: JSON.stringify({ AuthMethod: method, BearerToken, Meta: values.meta }),
      }),
    );
    try {
      // Whoever reads the file meanwhile sees the old token or the new one, never half of it.
      const part = `${sink}.${process.pid}`;
      writeFileSync(part, token.SecretID, { mode: sinkMode });
      renameSync(part, sink);
    } catch (error) {
      throw new CliError(`Error writing token to file sink: ${goFileError('open', sink, error)}`, { cause: error });
    }
    return 0;
  },
});

function readBearerToken(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new CliError(goFileError('open', path, error), { cause: error });
  }
  if (text === '') throw new CliError(`No bearer token found in ${path}`);
  return text;
}
