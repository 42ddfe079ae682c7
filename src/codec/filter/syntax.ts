/**
 * Filter expressions, text to tree: `Service == web and (prod in Tags or Meta.env is empty)`. A parsing expression
 * grammar (reference/http-api.md §4.5) read by recursive descent: every alternative starts again at the same place,
 * and the furthest place reached is what an error names.
 */

/** Longest accepted expression, characters. */
const expressionMax = 16_384;
/** Deepest nesting of parentheses and `not`. */
const depthMax = 250;

/** A wrong filter expression; the message is what Consul says after `Failed to create boolean expression evaluator: `. */
export class FilterError extends Error {
  /** `syntax`: the text itself is wrong; `field`: it does not fit the records' fields. */
  readonly phase: 'syntax' | 'field';

  constructor(message: string, phase: 'syntax' | 'field') {
    super(message);
    this.name = 'FilterError';
    this.phase = phase;
  }
}

export type MatchOperator =
  | 'Equal'
  | 'Not Equal'
  | 'In'
  | 'Not In'
  | 'Matches'
  | 'Not Matches'
  | 'Is Empty'
  | 'Is Not Empty';

export type FilterTree =
  | { readonly op: 'or' | 'and'; readonly left: FilterTree; readonly right: FilterTree }
  | { readonly op: 'not'; readonly operand: FilterTree }
  | {
      readonly op: 'match';
      readonly selector: readonly string[];
      readonly operator: MatchOperator;
      readonly value: string;
    };

/** @throws FilterError in the form `LINE:COL (OFFSET): …`. */
export function parseFilter(expression: string): FilterTree {
  if (expression.length > expressionMax) {
    throw new FilterError(`1:1 (0): expression is longer than ${expressionMax} characters, shorten it`, 'syntax');
  }
  return new Parser(expression).parse();
}

class Parser {
  readonly #text: string;
  #at = 0;
  #depth = 0;
  #furthest = 0;
  readonly #expected = new Set<string>();

  constructor(text: string) {
    this.#text = text;
  }

  parse(): FilterTree {
    this.#blank();
    const tree = this.#or();
    if (tree !== undefined) {
      this.#blank();
      if (this.#at === this.#text.length) return tree;
      this.#fail('end of expression');
    }
    const expected = [...this.#expected];
    const last = expected.pop()!;
    const list = expected.length === 0 ? last : `${expected.join(', ')} or ${last}`;
    throw this.#error(this.#furthest, `no match found, expected: ${list}`);
  }

  #or(): FilterTree | undefined {
    return this.#chain('or', () => this.#chain('and', () => this.#not()));
  }

  /** `operand _ "and" _ operand …`, grouped to the right; without recursion, so a long chain is not deep. */
  #chain(op: 'or' | 'and', operand: () => FilterTree | undefined): FilterTree | undefined {
    const first = operand();
    if (first === undefined) return undefined;
    const operands = [first];
    for (;;) {
      const end = this.#at;
      const next = this.#blank() && this.#word(op) && this.#gap() ? operand() : undefined;
      if (next === undefined) {
        this.#at = end;
        return operands.reduceRight((right, left) => ({ op, left, right }));
      }
      operands.push(next);
    }
  }

  #not(): FilterTree | undefined {
    this.#enter();
    const start = this.#at;
    if (this.#word('not') && this.#gap()) {
      const operand = this.#not();
      if (operand !== undefined) {
        this.#depth--;
        return { op: 'not', operand };
      }
    }
    this.#at = start;
    const tree = this.#group() ?? this.#match();
    this.#depth--;
    return tree;
  }

  #group(): FilterTree | undefined {
    const start = this.#at;
    if (!this.#word('(')) return undefined;
    this.#blank();
    const tree = this.#or();
    if (tree !== undefined) {
      this.#blank();
      if (this.#word(')')) return tree;
    }
    this.#at = start;
    return undefined;
  }

  #match(): FilterTree | undefined {
    const start = this.#at;
    const selector = this.#selector();
    if (selector !== undefined) {
      const end = this.#at;
      const operator = this.#operator();
      const value = operator === undefined ? undefined : this.#value();
      if (operator !== undefined && value !== undefined) return { op: 'match', selector, operator, value };
      this.#at = end;
      const emptiness = this.#emptiness();
      if (emptiness !== undefined) return { op: 'match', selector, operator: emptiness, value: '' };
    }
    this.#at = start;
    const value = this.#value();
    if (value !== undefined && this.#blank()) {
      const negated = this.#word('not') && this.#gap();
      if (this.#word('in') && this.#gap()) {
        const container = this.#selector();
        if (container !== undefined) {
          return { op: 'match', selector: container, operator: negated ? 'Not In' : 'In', value };
        }
      }
    }
    this.#at = start;
    return undefined;
  }

  #operator(): MatchOperator | undefined {
    const spaced = this.#blank();
    if (this.#word('==')) {
      this.#blank();
      return 'Equal';
    }
    if (this.#word('!=')) {
      this.#blank();
      return 'Not Equal';
    }
    if (!spaced) return undefined;
    const negated = this.#word('not') && this.#gap();
    if (this.#word('contains')) return this.#gap() ? (negated ? 'Not In' : 'In') : undefined;
    if (this.#word('matches')) return this.#gap() ? (negated ? 'Not Matches' : 'Matches') : undefined;
    return undefined;
  }

  #emptiness(): MatchOperator | undefined {
    if (!this.#blank() || !this.#word('is') || !this.#gap()) return undefined;
    const negated = this.#word('not') && this.#gap();
    if (!this.#word('empty')) return undefined;
    return negated ? 'Is Not Empty' : 'Is Empty';
  }

  #selector(): string[] | undefined {
    const first = this.#pattern(/[a-zA-Z]\w*/y, 'a field name');
    if (first === undefined) return undefined;
    const path = [first];
    for (;;) {
      const end = this.#at;
      if (this.#take('.')) {
        const part = this.#pattern(/[a-zA-Z]\w*/y, 'a field name');
        if (part === undefined) {
          this.#at = end;
          return path;
        }
        path.push(part);
      } else if (this.#take('[')) {
        this.#blank();
        const key = this.#string();
        if (key === undefined) throw this.#error(this.#at, 'rule "index": Invalid index');
        this.#blank();
        if (!this.#take(']')) throw this.#error(this.#at, 'rule "index": Unclosed index expression');
        path.push(key);
      } else {
        return path;
      }
    }
  }

  #value(): string | undefined {
    const start = this.#at;
    if (this.#selector() !== undefined) return this.#text.slice(start, this.#at);
    return this.#pattern(/-?(?:0|[1-9]\d*)(?:\.\d+)?(?=[ \t\r\n)]|$)/y, 'a value') ?? this.#string();
  }

  #string(): string | undefined {
    const start = this.#at;
    const raw = this.#pattern(/`[^`]*`/y, 'a string');
    if (raw !== undefined) return raw.slice(1, -1).replaceAll('\r', '');
    const quoted = this.#pattern(/"[^"]*"/y, 'a string');
    if (quoted === undefined) {
      const open = this.#text[start];
      if (open === '"' || open === '`') throw this.#error(start, 'rule "string": Unterminated string literal');
      return undefined;
    }
    const text = unquoteGo(quoted.slice(1, -1));
    if (text === undefined) throw this.#error(start, 'rule "string": invalid syntax');
    return text;
  }

  #blank(): boolean {
    return this.#pattern(/[ \t\r\n]+/y, undefined) !== undefined;
  }

  /** Blanks that must be there. */
  #gap(): boolean {
    return this.#pattern(/[ \t\r\n]+/y, 'a blank') !== undefined;
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #word(word: string): boolean {
    if (!this.#text.startsWith(word, this.#at)) {
      this.#fail(JSON.stringify(word));
      return false;
    }
    this.#at += word.length;
    return true;
  }

  #pattern(pattern: RegExp, name: string | undefined): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    else if (name !== undefined) this.#fail(name);
    return found;
  }

  #fail(expected: string): void {
    if (this.#at < this.#furthest) return;
    if (this.#at > this.#furthest) this.#expected.clear();
    this.#furthest = this.#at;
    this.#expected.add(expected);
  }

  #enter(): void {
    if (++this.#depth > depthMax) throw this.#error(this.#at, `nested deeper than ${depthMax} levels`);
  }

  #error(at: number, message: string): FilterError {
    const before = this.#text.slice(0, at);
    const line = before.split('\n').length;
    const column = Array.from(before.slice(before.lastIndexOf('\n') + 1)).length + 1;
    return new FilterError(`${line}:${column} (${Buffer.byteLength(before)}): ${message}`, 'syntax');
  }
}

const simpleEscapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
};

/** The inside of a Go string literal in double quotes; undefined when an escape is wrong. */
function unquoteGo(text: string): string | undefined {
  if (text.includes('\n')) return undefined;
  if (!text.includes('\\')) return text;
  const bytes: Buffer[] = [];
  for (let i = 0; i < text.length;) {
    const slash = text.indexOf('\\', i);
    bytes.push(Buffer.from(text.slice(i, slash < 0 ? undefined : slash)));
    if (slash < 0) break;
    const escape = /^(?:([abfnrtv\\])|x([\da-fA-F]{2})|([0-7]{3})|u([\da-fA-F]{4})|U([\da-fA-F]{8}))/.exec(
      text.slice(slash + 1, slash + 10),
    );
    if (escape === null) return undefined;
    const [whole, simple, hex, octal, short, long] = escape;
    if (simple !== undefined) bytes.push(Buffer.from(simpleEscapes[simple]!));
    else if (hex !== undefined) bytes.push(Buffer.of(Number.parseInt(hex, 16)));
    else if (octal !== undefined) {
      const byte = Number.parseInt(octal, 8);
      if (byte > 255) return undefined;
      bytes.push(Buffer.of(byte));
    } else {
      const code = Number.parseInt(short ?? long!, 16);
      if (code > 0x10_ff_ff || (code >= 0xd800 && code < 0xe000)) return undefined;
      bytes.push(Buffer.from(String.fromCodePoint(code)));
    }
    i = slash + 1 + whole.length;
  }
  return Buffer.concat(bytes).toString('utf8');
}
