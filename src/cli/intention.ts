/** What the `intention` commands share: finding one by its ends, and saying which it is. */
import type { AgentClient } from '../client/index.ts';
import type { Intention } from '../model/index.ts';
import { attempt, CliError } from './command.ts';

/** `web => db (allow)`. */
export function describeIntention({
  SourceName,
  DestinationName,
  Action,
}: Pick<Intention, 'SourceName' | 'DestinationName' | 'Action'>): string {
  return `${SourceName} => ${DestinationName} (${Action})`;
}

/** The intention with exactly these ends. */
export async function findIntention(
  agent: AgentClient,
  source: string,
  destination: string,
): Promise<Intention | undefined> {
  const all = await agent.json<readonly Intention[] | null>('GET', '/v1/connect/intentions');
  return all?.find(({ SourceName, DestinationName }) => SourceName === source && DestinationName === destination);
}

/** The ID that the operands name: an ID, or the ends of an intention. */
export async function intentionId(agent: AgentClient, args: readonly string[]): Promise<string> {
  const [first, second] = args;
  if (first === undefined || args.length > 2) throw new CliError('Error: command requires exactly 1 or 2 arguments');
  if (second === undefined) return first;
  const found = await attempt('Error', findIntention(agent, first, second));
  if (found === undefined) {
    throw new CliError(
      `Error: Intention with source ${JSON.stringify(first)} and destination ${JSON.stringify(second)} not found.`,
    );
  }
  return found.ID;
}
