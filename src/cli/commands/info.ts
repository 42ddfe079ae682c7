import { attempt, CliError, command } from '../command.ts';
import { clientFlags, formatFlag, wantsJson } from '../flags.ts';
import { writeJson } from '../json.ts';
import { byBytes } from '../text.ts';

type Stats = Readonly<Record<string, Readonly<Record<string, string>>>>;

export const info = command({
  name: 'info',
  summary: 'Print what the agent knows about itself',
  description: ['Prints counters and states of the agent, in sections, for operators.'],
  flags: { ...clientFlags, ...formatFlag },
  async run({ io, values, out, client }) {
    const json = wantsJson(values.format);
    const self = await attempt(
      'Error querying agent',
      client().json<{ readonly Stats?: Stats }>('GET', '/v1/agent/self'),
    );
    if (self.Stats === undefined) throw new CliError("Agent response did not contain 'Stats' key");
    if (json) {
      writeJson(io, self.Stats);
      return 0;
    }
    for (const section of Object.keys(self.Stats).sort(byBytes)) {
      out(`${section}:`);
      const entries = self.Stats[section]!;
      for (const key of Object.keys(entries).sort(byBytes)) out(`\t${key} = ${entries[key]}`);
    }
    return 0;
  },
});
