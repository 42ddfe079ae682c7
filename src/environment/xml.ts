/**
 * As much XML as the answers of AWS's query APIs are made of: elements, text, the five named entities and numeric ones.
 * Everything else is either skipped where it means nothing to us (declaration, comments, attributes) or refused
 * (document types, which are a way to make a reader read other files or grow without end).
 */

export interface XmlElement {
  readonly name: string;
  readonly children: readonly XmlElement[];
  /** Character data directly inside, trimmed, entities resolved. */
  readonly text: string;
}

/** No answer that we read is deeper than some ten levels. */
const depthMax = 64;

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** One piece at a time: comment, declaration or instruction, character section, tag, or text. */
const piece =
  /<!--[\s\S]*?-->|<\?[\s\S]*?\?>|<!\[CDATA\[([\s\S]*?)\]\]>|<(\/?)([A-Za-z_][\w.:-]*)((?:\s+[\w.:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|([^<]+)/y;

interface OpenElement {
  readonly name: string;
  readonly children: XmlElement[];
  text: string;
}

/** The document's root. @throws Error that says where the text stops being what we read */
export function parseXml(document: string): XmlElement {
  const open: OpenElement[] = [];
  let root: XmlElement | undefined;
  const fail = (what: string, at: number): never => {
    throw new Error(`not the XML we read: ${what} at character ${at}`);
  };
  const close = (at: number): void => {
    const { name, children, text } = open.pop()!;
    const element: XmlElement = { name, children, text: text.trim() };
    const parent = open.at(-1);
    if (parent !== undefined) parent.children.push(element);
    else if (root === undefined) root = element;
    else fail('a second root element', at);
  };

  piece.lastIndex = 0;
  let at = 0;
  while (at < document.length) {
    piece.lastIndex = at;
    const match = piece.exec(document);
    if (match === null) return fail(JSON.stringify(document.slice(at, at + 20)), at);
    const [whole, section, closing, name, , empty, text] = match;
    const characters = section ?? (text === undefined ? undefined : resolveEntities(text, at));
    if (characters !== undefined) {
      const element = open.at(-1);
      if (element !== undefined) element.text += characters;
      // A byte order mark is white space to trim().
      else if (characters.trim() !== '') fail('text outside the root element', at);
    } else if (name !== undefined) {
      if (closing === '/') {
        if (open.at(-1)?.name !== name) fail(`</${name}> closes ${open.at(-1)?.name ?? 'nothing'}`, at);
        close(at);
      } else {
        if (open.length >= depthMax) fail(`more than ${depthMax} levels`, at);
        open.push({ name, children: [], text: '' });
        if (empty === '/') close(at);
      }
    }
    at += whole.length;
  }
  if (open.length > 0) fail(`<${open.at(-1)!.name}> is not closed`, at);
  return root ?? fail('no element', at);
}

function resolveEntities(text: string, at: number): string {
  return text.replace(/&([^;]{0,10});?/g, (whole, name: string) => {
    const [, hex, decimal] = /^#(?:x([\da-fA-F]+)|(\d+))$/.exec(name) ?? [];
    const code = hex !== undefined ? Number.parseInt(hex, 16) : Number(decimal ?? Number.NaN);
    const resolved = entities[name] ?? (code <= 0x10_ff_ff ? String.fromCodePoint(code) : undefined);
    if (resolved === undefined || !whole.endsWith(';'))
      throw new Error(`not the XML we read: entity &${name} after character ${at}`);
    return resolved;
  });
}

/** Elements at the end of a path of names: `descend(root, 'reservationSet', 'item')`. */
export function descend(element: XmlElement, ...path: readonly string[]): readonly XmlElement[] {
  return path.reduce<readonly XmlElement[]>(
    (found, name) => found.flatMap(({ children }) => children.filter((child) => child.name === name)),
    [element],
  );
}

/** Text of the first element at the end of a path; undefined when there is none or it is empty. */
export function textAt(element: XmlElement, ...path: readonly string[]): string | undefined {
  return descend(element, ...path)[0]?.text || undefined;
}
