import type { Intention } from '../../model/index.ts';
import { attempt, command } from '../command.ts';
import { formatFlag, serverFlags, wantsJson } from '../flags.ts';
import { intentionId } from '../intention.ts';
import { writeJson } from '../json.ts';
import { formatTable } from '../text.ts';

export const intentionGet = command({
  name: 'intention get',
  operands: 'SRC DST | ID',
  summary: 'Print an intention',
  description: ['Prints the intention between SRC and DST, or the one with this ID.'],
  flags: { ...serverFlags, ...formatFlag },
  async run({ io, values, args, out, client }) {
    const json = wantsJson(values.format);
    const agent = client();
    const id = await intentionId(agent, args);
    const found = await attempt(
      'Error reading the intention',
      agent.json<Intention>('GET', `/v1/connect/intentions/${id}`),
    );
    if (json) {
      writeJson(io, found);
      return 0;
    }
    const rows = [
      ['Source:', found.SourceName],
      ['Destination:', found.DestinationName],
      ['Action:', found.Action],
      ['ID:', found.ID],
      ...(found.Description === '' ? [] : [['Description:', found.Description]]),
      ...(Object.keys(found.Meta ?? {}).length === 0 ? [] : [['Meta:', '']]),
      ...Object.entries(found.Meta ?? {}).map(([key, value]) => [`  ${key}:`, value]),
      ['Created At:', rfc850(new Date(found.CreatedAt))],
    ];
    out(formatTable(rows));
    return 0;
  },
});

/** `Friday, 20-Nov-26 09:52:55 UTC`. */
function rfc850(date: Date): string {
  const [weekday, day, month, year, time] = date.toUTCString().replace(',', '').split(' ');
  const names: Readonly<Record<string, string>> = { Tue: 'Tues', Wed: 'Wednes', Thu: 'Thurs', Sat: 'Satur' };
  return `${names[weekday!] ?? weekday}day, ${day}-${month}-${year!.slice(2)} ${time} UTC`;
}
