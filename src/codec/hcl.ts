/**
 * HCL version 1, the configuration language (reference/agent.md §2.2): `key = value`, blocks `service "web" { … }`,
 * lists, heredocs, `#`, `//` and block comments. As in the original, every object, whether block or assigned, becomes a
 * list of objects, repeated ones are appended, and labels become nested keys: what a block means is the reader's
 * business. Errors begin `At LINE:COLUMN: `, like the original's.
 */

/** Deepest nesting of objects and lists. */
const depthMax = 128;

export type HclValue = string | number | boolean | HclValue[] | HclObject;
export interface HclObject {
  [key: string]: HclValue;
}

export class HclError extends Error {
  /** 1-based. */
  readonly line: number;
  readonly column: number;

  constructor(reason: string, line: number, column: number) {
    super(`At ${line}:${column}: ${reason}`);
    this.name = 'HclError';
    this.line = line;
    this.column = column;
  }
}

/** @throws HclError */
export function parseHcl(text: string): HclObject {
  return new Parser(text).parse();
}

type TokenKind =
  | 'IDENT'
  | 'STRING'
  | 'HEREDOC'
  | 'NUMBER'
  | 'FLOAT'
  | 'BOOL'
  | 'LBRACE'
  | 'RBRACE'
  | 'LBRACK'
  | 'RBRACK'
  | 'ASSIGN'
  | 'COMMA'
  | 'PERIOD'
  | 'ADD'
  | 'SUB'
  | 'EOF';

interface Token {
  readonly kind: TokenKind;
  /** The decoded text of a string, the raw text of anything else. */
  readonly text: string;
  readonly at: number;
}

const punctuation: Readonly<Record<string, TokenKind>> = {
  '{': 'LBRACE',
  '}': 'RBRACE',
  '[': 'LBRACK',
  ']': 'RBRACK',
  '=': 'ASSIGN',
  ',': 'COMMA',
  '.': 'PERIOD',
  '+': 'ADD',
  '-': 'SUB',
};

class Scanner {
  readonly #text: string;
  #at: number;
  /** Where the last name or number ended, and how many columns its scanner looked further. */
  #looked = { from: -1, columns: 0 };

  constructor(text: string) {
    this.#text = text;
    this.#at = text.startsWith('\ufeff') ? 1 : 0;
  }

  next(): Token {
    this.#skip();
    const at = this.#at;
    const text = this.#text;
    const c = text[at];
    // The original moves on by a column each time it looks for more of a name or number past the end.
    if (c === undefined)
      return { kind: 'EOF', text: '', at: this.#looked.from === at ? at + this.#looked.columns : at };
    const name = this.#match(/[\p{L}_][\p{L}\p{Nd}_.-]*/uy);
    if (name !== undefined) {
      this.#looked = { from: this.#at, columns: 1 };
      return { kind: name === 'true' || name === 'false' ? 'BOOL' : 'IDENT', text: name, at };
    }
    const number = this.#match(/-?(?:0[xX][\da-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/y);
    if (number !== undefined) {
      const integer = /^-?(?:0[xX]|\d+$)/.test(number);
      if (integer && /^-?0\d/.test(number) && /[89]/.test(number)) throw this.error('illegal octal number', at);
      this.#looked = { from: this.#at, columns: integer ? 2 : 1 };
      return { kind: integer ? 'NUMBER' : 'FLOAT', text: number, at };
    }
    if (c === '"') return { kind: 'STRING', text: this.#string(), at };
    if (c === '<') return { kind: 'HEREDOC', text: this.#heredoc(), at };
    const kind = punctuation[c];
    if (kind === undefined) throw this.error('illegal character', at);
    this.#at++;
    return { kind, text: c, at };
  }

  error(reason: string, at: number): HclError {
    const before = this.#text.slice(0, at);
    return new HclError(reason, before.split('\n').length, at - before.lastIndexOf('\n'));
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #skip(): void {
    for (;;) {
      this.#match(/[ \t\r\n]+/y);
      if (this.#match(/#.*|\/\/.*/y) !== undefined) continue;
      if (!this.#text.startsWith('/*', this.#at)) return;
      const end = this.#text.indexOf('*/', this.#at + 2);
      if (end < 0) throw this.error('comment not terminated', this.#at);
      this.#at = end + 2;
    }
  }

  /** `${…}` is kept as it is, quotes inside it included. */
  #string(): string {
    const start = this.#at++;
    let result = '';
    let braces = 0;
    for (;;) {
      const c = this.#text[this.#at];
      if (c === undefined || (c === '\n' && braces === 0)) throw this.error('literal not terminated', start);
      this.#at++;
      if (braces === 0 && c === '"') return result;
      if (c === '$' && this.#text[this.#at] === '{') {
        braces++;
        this.#at++;
        result += '${';
      } else if (braces === 0 && c === '\\') {
        result += this.#escape();
      } else {
        if (braces > 0 && c === '{') braces++;
        if (braces > 0 && c === '}') braces--;
        result += c;
      }
    }
  }

  #escape(): string {
    const at = this.#at - 1;
    const simple = this.#match(/[abfnrtv\\"]/y);
    if (simple !== undefined) return simpleEscapes[simple]!;
    const coded = this.#match(/[0-7]{3}|x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}/y);
    if (coded === undefined) throw this.error('illegal char escape', at);
    const code = /^\d/.test(coded) ? Number.parseInt(coded, 8) : Number.parseInt(coded.slice(1), 16);
    if (code > 0x10_ff_ff) throw this.error('illegal char escape', at);
    return String.fromCodePoint(code);
  }

  /** `<<MARK` keeps the lines as they are; `<<-MARK` takes away the indentation that all of them share. */
  #heredoc(): string {
    const start = this.#at;
    const opening = this.#match(/<<(-?)([\p{L}\p{Nd}_.-]+)[ \t]*\r?\n/uy);
    if (opening === undefined) throw this.error("heredoc expected '<<MARK' and a line end", start);
    const [, indented, mark] = /^<<(-?)(\S+)/.exec(opening)!;
    const lines: string[] = [];
    for (;;) {
      if (this.#at >= this.#text.length) throw this.error('heredoc not terminated', start);
      const end = this.#text.indexOf('\n', this.#at);
      const line = this.#text.slice(this.#at, end < 0 ? undefined : end);
      if (line.trim() === mark) {
        this.#at += line.trimEnd().length;
        break;
      }
      lines.push(line);
      this.#at = end < 0 ? this.#text.length : end + 1;
    }
    if (lines.length === 0) return '';
    if (indented === '-') {
      const shared = Math.min(...lines.map((line) => /^[ \t]*/.exec(line)![0].length));
      return lines.map((line) => `${line.slice(shared)}\n`).join('');
    }
    return lines.map((line) => `${line}\n`).join('');
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
  '"': '"',
};

class Parser {
  readonly #scanner: Scanner;
  #token: Token;
  #depth = 0;

  constructor(text: string) {
    this.#scanner = new Scanner(text);
    this.#token = this.#scanner.next();
  }

  parse(): HclObject {
    const object = this.#entries();
    if (!this.#is('EOF')) throw this.#error(`unexpected token: ${this.#token.kind}`);
    return object;
  }

  #is(kind: TokenKind): boolean {
    return this.#token.kind === kind;
  }

  #advance(): Token {
    const token = this.#token;
    this.#token = this.#scanner.next();
    return token;
  }

  /** Entries up to a closing brace or the end, which stays. */
  #entries(): HclObject {
    if (++this.#depth > depthMax) throw this.#error(`nested deeper than ${depthMax} levels`);
    const object = emptyObject();
    while (!this.#is('EOF') && !this.#is('RBRACE')) {
      this.#entry(object);
      if (this.#is('COMMA')) this.#advance();
    }
    this.#depth--;
    return object;
  }

  #entry(object: HclObject): void {
    const keys: string[] = [];
    while (this.#is('IDENT') || this.#is('STRING') || (keys.length === 0 && this.#is('BOOL'))) {
      keys.push(this.#advance().text);
    }
    const [key, ...labels] = keys;
    if (key === undefined) {
      throw this.#error(`expected: IDENT | STRING got: ${this.#token.kind}`);
    }
    if (this.#is('ASSIGN')) {
      if (labels.length > 0) throw this.#error(`nested object expected: LBRACE got: ${this.#token.kind}`);
      this.#advance();
      if (this.#is('LBRACE')) add(object, key, this.#object());
      else object[key] = this.#value();
      return;
    }
    if (this.#is('LBRACE')) {
      if (labels.length + this.#depth > depthMax) throw this.#error(`nested deeper than ${depthMax} levels`);
      add(
        object,
        key,
        labels.reduceRight((inner, label) => ({ [label]: [inner] }), this.#object()),
      );
      return;
    }
    if (labels.length > 0) throw this.#error(`nested object expected: LBRACE got: ${this.#token.kind}`);
    throw this.#error(`key '${key}' expected start of object ('{') or assignment ('=')`);
  }

  #object(): HclObject {
    this.#advance();
    const object = this.#entries();
    if (!this.#is('RBRACE')) {
      // At the end the original has looked once more.
      const at = this.#token.at + (this.#is('EOF') ? 1 : 0);
      throw this.#scanner.error(`object expected closing RBRACE got: ${this.#token.kind}`, at);
    }
    this.#advance();
    return object;
  }

  #value(): HclValue {
    switch (this.#token.kind) {
      case 'STRING':
      case 'HEREDOC':
        return this.#advance().text;
      case 'NUMBER':
      case 'FLOAT':
        return toNumber(this.#advance().text);
      case 'BOOL':
        return this.#advance().text === 'true';
      case 'LBRACE':
        return [this.#object()];
      case 'LBRACK':
        return this.#list();
      default:
        throw this.#error(`unknown token: ${this.#token.kind} ${this.#token.text}`.trimEnd());
    }
  }

  #list(): HclValue[] {
    if (++this.#depth > depthMax) throw this.#error(`nested deeper than ${depthMax} levels`);
    this.#advance();
    const list: HclValue[] = [];
    for (;;) {
      if (this.#is('RBRACK')) break;
      if (this.#is('LBRACE')) list.push(this.#object());
      else list.push(this.#value());
      if (this.#is('COMMA')) this.#advance();
      else if (!this.#is('RBRACK')) {
        throw this.#error(`error parsing list, expected comma or list end, got: ${this.#token.kind}`);
      }
    }
    this.#advance();
    this.#depth--;
    return list;
  }

  #error(reason: string): HclError {
    return this.#scanner.error(reason, this.#token.at);
  }
}

function emptyObject(): HclObject {
  return Object.create(null) as HclObject;
}

function add(object: HclObject, key: string, value: HclObject): void {
  const before = object[key];
  if (Array.isArray(before)) before.push(value);
  else object[key] = [value];
}

function toNumber(text: string): number {
  const sign = text.startsWith('-') ? -1 : 1;
  const digits = text.replace(/^-/, '');
  const magnitude = /^0\d+$/.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
  return magnitude === 0 ? 0 : sign * magnitude;
}
