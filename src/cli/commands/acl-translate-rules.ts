import { legacyRules, translateRules } from '../acl.ts';
import { attempt, CliError, command } from '../command.ts';
import { serverFlags } from '../flags.ts';
import { readData } from '../kv.ts';

export const aclTranslateRules = command({
  name: 'acl translate-rules',
  operands: 'RULES|-|@FILE|TOKEN',
  summary: 'Turn legacy rules into those of policies',
  description: [
    'Prints legacy rules in the syntax of policies. The rules are the operand, standard input ("-"), a file ("@FILE") or, with one of the flags, those of a token.',
  ],
  flags: {
    ...serverFlags,
    'token-accessor': { kind: 'bool', help: 'The operand is the accessor ID of a token.' },
    'token-secret': { kind: 'bool', help: 'The operand is the secret ID of a token.' },
  },
  async run({ io, values, args, out, client }) {
    const [operand] = args;
    if (operand === undefined) throw new CliError('Error! Missing TRANSLATE argument');
    if (args.length > 1) throw new CliError(`Error! Too many arguments: expected 1 got ${args.length}`);
    const text = (await readData(operand, io)).toString('utf8');
    const agent = client();
    try {
      if (values['token-accessor'] || values['token-secret']) {
        out(await legacyRules(agent, text, values['token-secret'] ?? false));
        return 0;
      }
    } catch (error) {
      throw new CliError((error as Error).message, { cause: error });
    }
    out(await attempt('Error translating rules', translateRules(agent, text)));
    return 0;
  },
});
