/**
 * The engine's event stream: one JSON object a line, cut anywhere by the transport. `timeNano` has 19 digits and would
 * lose the last ones in a number, so it is taken from the text (reference/container-environments.md §3).
 */
import type { EngineEvent } from '../ports/index.ts';

/** A line holds all labels of a container; engines have no limit of their own. Bytes. */
const lineBytesMax = 4 << 20;

/** Feed chunks in; complete events come out. A line that is no event is skipped. */
export class EventLines {
  #rest = Buffer.alloc(0);

  /** @throws when a line does not end within 4 MiB: then it is no event stream. */
  push(chunk: Uint8Array): EngineEvent[] {
    const events: EngineEvent[] = [];
    let buffer = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk]);
    for (let end = buffer.indexOf(0x0a); end >= 0; end = buffer.indexOf(0x0a)) {
      const event = parseEvent(buffer.toString('utf8', 0, end));
      if (event !== undefined) events.push(event);
      buffer = buffer.subarray(end + 1);
    }
    if (buffer.length > lineBytesMax) throw new Error(`an event longer than ${lineBytesMax} bytes`);
    this.#rest = buffer;
    return events;
  }
}

interface RawEvent {
  readonly Type?: unknown;
  readonly Action?: unknown;
  readonly Actor?: { readonly ID?: unknown; readonly Attributes?: Readonly<Record<string, string>> | null };
  readonly time?: unknown;
}

/** undefined for what is no event (an empty line, an error object). */
export function parseEvent(line: string): EngineEvent | undefined {
  // A JSON text sequence (newer engines, on request) starts each record with RS.
  const text = line.startsWith('\u001e') ? line.slice(1) : line;
  if (text.trim() === '') return undefined;
  let raw: RawEvent;
  try {
    raw = JSON.parse(text) as RawEvent;
  } catch {
    return undefined;
  }
  if (typeof raw.Type !== 'string' || typeof raw.Action !== 'string' || typeof raw.Actor?.ID !== 'string') {
    return undefined;
  }
  const time = typeof raw.time === 'number' ? raw.time : 0;
  // A label cannot fake it: inside a string its quotes would be escaped, and a label's value is quoted.
  const nano = /"timeNano":\s*(\d+)/.exec(text)?.[1];
  return {
    Type: raw.Type,
    Action: raw.Action,
    Actor: { ID: raw.Actor.ID, Attributes: raw.Actor.Attributes ?? {} },
    time,
    timeNano: nano ?? `${time}000000000`,
  };
}
