/**
 * JSON as Go's `encoding/json` reads and writes it. Reading: only the first value counts, trailing text is ignored, and
 * the error texts are Go's, because clients match on them (reference/http-api.md §5). Writing: HTML characters are
 * escaped, bytes are base64, 64-bit integers keep all their digits (§6). JavaScript's own `JSON` does none of that.
 */

/** Deepest nesting that is read or written; Go's own bound is 10,000, far beyond any request. */
const depthMax = 512;
/** Longest integer read exactly; reading takes the square of its length, and 64 bits never need more than 20. */
const bigintCharactersMax = 64;

export class GoJsonError extends Error {
  /** Byte offset of the offending character (or of the end of the text). */
  readonly offset: number;
  /** 1-based line and column (in characters) of the same place. */
  readonly line: number;
  readonly column: number;

  constructor(message: string, place: { offset: number; line: number; column: number }) {
    super(message);
    this.name = 'GoJsonError';
    this.offset = place.offset;
    this.line = place.line;
    this.column = place.column;
  }
}

/**
 * Parses the first JSON value of `input` and ignores what follows. Objects have no prototype, so `__proto__` is a key
 * like any other; of equal keys the last wins; integers beyond 2^53 come out as bigint, absurdly long ones as a rounded number; invalid UTF-8 as U+FFFD.
 * @throws GoJsonError with Go's text: `EOF`, `unexpected EOF`, `invalid character 'x' looking for beginning of value`.
 */
export function parseGoJson(input: Uint8Array | string): unknown {
  const text =
    typeof input === 'string' ? input : Buffer.from(input.buffer, input.byteOffset, input.byteLength).toString('utf8');
  return new Parser(text).parse();
}

class Parser {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): unknown {
    this.#skipSpace();
    if (this.#at >= this.#text.length) throw this.#error('EOF');
    return this.#value();
  }

  #value(): unknown {
    this.#skipSpace();
    const text = this.#text;
    const c = text.charCodeAt(this.#at);
    switch (c) {
      case 0x7b: // {
        return this.#object();
      case 0x5b: // [
        return this.#array();
      case 0x22: // "
        return this.#string();
      case 0x74: // t
        return this.#literal('true', true);
      case 0x66: // f
        return this.#literal('false', false);
      case 0x6e: // n
        return this.#literal('null', null);
      default:
        if (c === 0x2d || isDigit(c)) return this.#number();
        throw this.#unexpected('looking for beginning of value');
    }
  }

  #object(): Record<string, unknown> {
    this.#enter();
    const object = Object.create(null) as Record<string, unknown>;
    this.#at++;
    this.#skipSpace();
    if (this.#text.charCodeAt(this.#at) === 0x7d) return this.#leave(object);
    for (;;) {
      this.#skipSpace();
      if (this.#text.charCodeAt(this.#at) !== 0x22) {
        throw this.#unexpected('looking for beginning of object key string');
      }
      const key = this.#string();
      this.#skipSpace();
      if (this.#text.charCodeAt(this.#at) !== 0x3a) throw this.#unexpected('after object key');
      this.#at++;
      object[key] = this.#value();
      this.#skipSpace();
      const c = this.#text.charCodeAt(this.#at);
      if (c === 0x7d) return this.#leave(object);
      if (c !== 0x2c) throw this.#unexpected('after object key:value pair');
      this.#at++;
    }
  }

  #array(): unknown[] {
    this.#enter();
    const array: unknown[] = [];
    this.#at++;
    this.#skipSpace();
    if (this.#text.charCodeAt(this.#at) === 0x5d) return this.#leave(array);
    for (;;) {
      array.push(this.#value());
      this.#skipSpace();
      const c = this.#text.charCodeAt(this.#at);
      if (c === 0x5d) return this.#leave(array);
      if (c !== 0x2c) throw this.#unexpected('after array element');
      this.#at++;
    }
  }

  #string(): string {
    const text = this.#text;
    let start = ++this.#at;
    let result = '';
    for (;;) {
      const c = text.charCodeAt(this.#at);
      if (c === 0x22) {
        result += text.slice(start, this.#at++);
        return wellFormed(result);
      }
      if (c === 0x5c) {
        result += text.slice(start, this.#at++) + this.#escape();
        start = this.#at;
      } else if (c >= 0x20) {
        this.#at++;
      } else {
        throw this.#unexpected('in string literal');
      }
    }
  }

  #escape(): string {
    const c = this.#text[this.#at];
    if (c === 'u') {
      let code = 0;
      for (let i = 0; i < 4; i++) {
        this.#at++;
        const digit = this.#text[this.#at] ?? '';
        if (!/^[\da-fA-F]$/.test(digit)) throw this.#unexpected('in \\u hexadecimal character escape');
        code = code * 16 + Number.parseInt(digit, 16);
      }
      this.#at++;
      return String.fromCharCode(code);
    }
    const character = c === undefined ? undefined : simpleEscapes[c];
    if (character === undefined) throw this.#unexpected('in string escape code');
    this.#at++;
    return character;
  }

  #number(): number | bigint {
    const text = this.#text;
    const start = this.#at;
    if (text.charCodeAt(this.#at) === 0x2d) this.#at++;
    if (text.charCodeAt(this.#at) === 0x30) this.#at++;
    else this.#digits('in numeric literal');
    let integer = true;
    if (text.charCodeAt(this.#at) === 0x2e) {
      integer = false;
      this.#at++;
      this.#digits('after decimal point in numeric literal');
    }
    if ((text.charCodeAt(this.#at) | 0x20) === 0x65) {
      integer = false;
      this.#at++;
      const sign = text.charCodeAt(this.#at);
      if (sign === 0x2b || sign === 0x2d) this.#at++;
      this.#digits('in exponent of numeric literal');
    }
    const literal = text.slice(start, this.#at);
    const number = Number(literal);
    if (integer && !Number.isSafeInteger(number) && literal.length <= bigintCharactersMax) return BigInt(literal);
    return number === 0 ? 0 : number;
  }

  #digits(where: string): void {
    if (!isDigit(this.#text.charCodeAt(this.#at))) throw this.#unexpected(where);
    do this.#at++;
    while (isDigit(this.#text.charCodeAt(this.#at)));
  }

  #literal<T>(word: string, value: T): T {
    for (let i = 1; i < word.length; i++) {
      this.#at++;
      if (this.#text[this.#at] !== word[i]) {
        throw this.#unexpected(`in literal ${word} (expecting ${quoteCharacter(word[i]!)})`);
      }
    }
    this.#at++;
    return value;
  }

  #enter(): void {
    if (++this.#depth > depthMax) throw this.#error('exceeded max depth');
  }

  #leave<T>(value: T): T {
    this.#depth--;
    this.#at++;
    return value;
  }

  #skipSpace(): void {
    for (;;) {
      const c = this.#text.charCodeAt(this.#at);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
      this.#at++;
    }
  }

  #unexpected(where: string): GoJsonError {
    const character = this.#text[this.#at];
    if (character === undefined) return this.#error('unexpected EOF');
    return this.#error(`invalid character ${quoteCharacter(character)} ${where}`);
  }

  #error(message: string): GoJsonError {
    const before = this.#text.slice(0, this.#at);
    const lineStart = before.lastIndexOf('\n') + 1;
    return new GoJsonError(message, {
      offset: Buffer.byteLength(before),
      line: before.split('\n').length,
      column: before.length - lineStart + 1,
    });
  }
}

const simpleEscapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** Lone surrogates (from `\\ud800` escapes) have no UTF-8 form. */
function wellFormed(text: string): string {
  return text.replaceAll(/\p{Surrogate}/gu, '\ufffd');
}

function isDigit(c: number): boolean {
  return c >= 0x30 && c <= 0x39;
}

/** Go looks at single bytes here, so of a longer character only the first byte is named. */
function quoteCharacter(character: string): string {
  if (character === "'") return String.raw`'\''`;
  if (character === '"') return `'"'`;
  const byte = Buffer.from(character)[0]!;
  if (byte < 0x20 || (byte >= 0x7f && byte < 0xa1) || byte === 0xad) {
    const named = controlNames[byte];
    if (named !== undefined) return `'${named}'`;
    return byte < 0x80 ? `'\\x${byte.toString(16).padStart(2, '0')}'` : `'\\u00${byte.toString(16)}'`;
  }
  return character === '\\' ? String.raw`'\\'` : `'${String.fromCharCode(byte)}'`;
}

const controlNames: Readonly<Record<number, string>> = {
  7: String.raw`\a`,
  8: String.raw`\b`,
  9: String.raw`\t`,
  10: String.raw`\n`,
  11: String.raw`\v`,
  12: String.raw`\f`,
  13: String.raw`\r`,
};

export interface GoJsonLayout {
  /** 4 blanks a level and a final line feed; otherwise compact without one. */
  readonly pretty: boolean;
}

/**
 * Writes `value` as Go does: bigint with all digits, bytes as base64, `Map` as an object ordered by key, fields that
 * are undefined left out. Plain objects keep the order of their fields.
 */
export function encodeGoJson(value: unknown, { pretty }: GoJsonLayout = { pretty: false }): string {
  return pretty ? `${write(value, 0, true)}\n` : write(value, 0, false);
}

/** One character in a string that Go writes differently from `"…"` around it. */
// oxlint-disable-next-line no-control-regex
const needsEscape = /["\\<>&\u0000-\u001f\u2028\u2029\ud800-\udfff]/;
/** After `JSON.stringify`: what JavaScript leaves as it is or writes in another way. */
const goEscapes = /[<>&\u2028\u2029]|\\[bf\\]/g;

/** The string as Go writes it, with its quotes. */
export function encodeGoJsonString(text: string): string {
  if (!needsEscape.test(text)) return `"${text}"`;
  return JSON.stringify(wellFormed(text)).replaceAll(goEscapes, (found) => {
    if (found === String.raw`\\`) return found;
    if (found === String.raw`\b`) return String.raw`\u0008`;
    if (found === String.raw`\f`) return String.raw`\u000c`;
    return `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

function write(value: unknown, depth: number, pretty: boolean): string {
  switch (typeof value) {
    case 'string':
      return encodeGoJsonString(value);
    case 'number':
      return Number.isFinite(value) ? String(value === 0 ? 0 : value) : 'null';
    case 'bigint':
    case 'boolean':
      return String(value);
    case 'object':
      break;
    default:
      return 'null';
  }
  if (value === null) return 'null';
  if (value instanceof Uint8Array) {
    return `"${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')}"`;
  }
  const indent = pretty ? `\n${'    '.repeat(depth)}` : '';
  const inner = pretty ? `${indent}    ` : '';
  if (depth > depthMax) throw new RangeError('JSON value is nested too deeply to be written');
  if (Array.isArray(value)) {
    if (value.length === 0) return '[]';
    let result = '[';
    for (let i = 0; i < value.length; i++)
      result += (i === 0 ? inner : `,${inner}`) + write(value[i], depth + 1, pretty);
    return `${result}${indent}]`;
  }
  const colon = pretty ? ': ' : ':';
  let fields = '';
  const add = (name: string, field: unknown): void => {
    if (field === undefined) return;
    if (fields !== '') fields += ',';
    fields += inner + encodeGoJsonString(name) + colon + write(field, depth + 1, pretty);
  };
  if (value instanceof Map) {
    for (const [name, field] of [...(value as Map<string, unknown>)].sort(byKey)) add(name, field);
  } else {
    for (const name of Object.keys(value)) add(name, (value as Record<string, unknown>)[name]);
  }
  return fields === '' ? '{}' : `{${fields}${indent}}`;
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : Number(a > b);
}
