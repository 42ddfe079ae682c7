/**
 * HashiCorp's interpolation language, the part that prepared query templates have use for: text with `${…}` in it, and
 * inside these names, calls, whole numbers, texts, arithmetic and comparison. `$${` stands for `${` itself. A template
 * is parsed once and evaluated per query, in time linear in its length (reference/http-api.md §9.7).
 */

/** Longest accepted template, characters. */
const templateMax = 16_384;
/** Deepest nesting of parentheses, calls and texts inside expressions. */
const depthMax = 50;

export class HilError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'HilError';
  }
}

type Value = string | number | boolean;

/** What names and calls mean. */
export interface HilScope {
  readonly variables: Readonly<Record<string, string>>;
  /** Functions of one whole number. */
  readonly functions: Readonly<Record<string, (argument: number) => string>>;
}

type Evaluate = (scope: HilScope) => Value;

/**
 * Parses `text`; the result renders it.
 * @throws HilError when it cannot be parsed; the result throws it for an unknown name or a value of the wrong kind.
 */
export function compileHil(text: string): (scope: HilScope) => string {
  if (text.length > templateMax) throw new HilError(`longer than ${templateMax} characters`);
  if (!text.includes('${')) return () => text;
  const evaluate = new Parser(text).parse();
  return (scope) => asText(evaluate(scope));
}

const operators: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['==', '!='],
  ['<=', '>=', '<', '>'],
  ['+', '-'],
  ['*', '/', '%'],
];

class Parser {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): Evaluate {
    return this.#template(() => this.#at >= this.#text.length);
  }

  /** Text and interpolations until `ends`; inside quotes backslashes escape. */
  #template(ends: () => boolean, quoted = false): Evaluate {
    const parts: (string | Evaluate)[] = [];
    let literal = '';
    while (!ends()) {
      if (this.#at >= this.#text.length) throw this.#problem('unterminated text');
      if (this.#take('$${')) literal += '${';
      else if (this.#take('${')) {
        parts.push(literal, this.#expression());
        literal = '';
        this.#expect('}');
      } else if (quoted && this.#take('\\')) {
        const escaped = this.#text[this.#at++];
        const meant = ({ n: '\n', t: '\t', '"': '"', '\\': '\\' } as Readonly<Record<string, string>>)[escaped ?? ''];
        if (meant === undefined) throw this.#problem('unknown escape sequence');
        literal += meant;
      } else literal += this.#text[this.#at++]!;
    }
    parts.push(literal);
    return (scope) => parts.map((part) => (typeof part === 'string' ? part : asText(part(scope)))).join('');
  }

  #expression(): Evaluate {
    if (++this.#depth > depthMax) throw this.#problem(`nested deeper than ${depthMax}`);
    const condition = this.#binary(0);
    let result = condition;
    if (this.#takeToken('?')) {
      const yes = this.#expression();
      this.#expect(':');
      const no = this.#expression();
      result = (scope) => (asBool(condition(scope)) ? yes(scope) : no(scope));
    }
    this.#depth--;
    return result;
  }

  #binary(level: number): Evaluate {
    const symbols = operators[level];
    if (symbols === undefined) return this.#unary();
    let left = this.#binary(level + 1);
    for (;;) {
      const symbol = symbols.find((candidate) => this.#takeToken(candidate));
      if (symbol === undefined) return left;
      const before = left;
      const right = this.#binary(level + 1);
      left = (scope) => combine(symbol, before(scope), () => right(scope));
    }
  }

  #unary(): Evaluate {
    if (this.#takeToken('-')) {
      const operand = this.#primary();
      return (scope) => 0 - asInt(operand(scope));
    }
    if (this.#takeToken('!')) {
      const operand = this.#primary();
      return (scope) => !asBool(operand(scope));
    }
    return this.#primary();
  }

  #primary(): Evaluate {
    this.#skipBlanks();
    if (this.#take('(')) {
      const inner = this.#expression();
      this.#expect(')');
      return inner;
    }
    if (this.#take('"')) {
      if (++this.#depth > depthMax) throw this.#problem(`nested deeper than ${depthMax}`);
      const inner = this.#template(() => this.#take('"'), true);
      this.#depth--;
      return inner;
    }
    const number = this.#match(/\d+/y);
    if (number !== null) {
      const value = Number(number);
      if (!Number.isSafeInteger(value)) throw this.#problem('number out of range');
      return () => value;
    }
    const name = this.#match(/[A-Za-z_][\w.-]*/y);
    if (name === null) throw this.#problem('expected an expression');
    if (name === 'true' || name === 'false') return () => name === 'true';
    return this.#takeToken('(') ? this.#call(name) : variable(name);
  }

  #call(name: string): Evaluate {
    const argument = this.#expression();
    this.#expect(')');
    return (scope) => {
      const called = Object.hasOwn(scope.functions, name) ? scope.functions[name] : undefined;
      if (called === undefined) throw new HilError(`unknown function called: ${name}`);
      return called(asInt(argument(scope)));
    };
  }

  #skipBlanks(): void {
    this.#match(/\s+/y);
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found === null) return null;
    this.#at += found[0].length;
    return found[0];
  }

  #take(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #takeToken(text: string): boolean {
    this.#skipBlanks();
    return this.#take(text);
  }

  #expect(text: string): void {
    if (!this.#takeToken(text)) throw this.#problem(`expected "${text}"`);
  }

  #problem(reason: string): HilError {
    return new HilError(`parse error at 1:${this.#at + 1}: ${reason}`);
  }
}

function variable(name: string): Evaluate {
  return ({ variables }) => {
    const value = Object.hasOwn(variables, name) ? variables[name] : undefined;
    if (value === undefined) throw new HilError(`unknown variable accessed: ${name}`);
    return value;
  };
}

function combine(symbol: string, left: Value, right: () => Value): Value {
  switch (symbol) {
    case '||':
      return asBool(left) || asBool(right());
    case '&&':
      return asBool(left) && asBool(right());
    case '==':
      return asText(left) === asText(right());
    case '!=':
      return asText(left) !== asText(right());
    default:
      return calculate(symbol, asInt(left), asInt(right()));
  }
}

function calculate(symbol: string, left: number, right: number): Value {
  switch (symbol) {
    case '<':
      return left < right;
    case '>':
      return left > right;
    case '<=':
      return left <= right;
    case '>=':
      return left >= right;
    case '+':
      return left + right;
    case '-':
      return left - right;
    case '*':
      return left * right;
    default:
      if (right === 0) throw new HilError('divide by zero');
      return symbol === '/' ? Math.trunc(left / right) : left % right;
  }
}

function asText(value: Value): string {
  return String(value);
}

function asInt(value: Value): number {
  const number = typeof value === 'string' && /^[-+]?\d+$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isSafeInteger(number)) throw new HilError(`not a number: ${String(value)}`);
  return number;
}

function asBool(value: Value): boolean {
  if (value === true || value === 'true') return true;
  if (value === false || value === 'false') return false;
  throw new HilError(`not a bool: ${String(value)}`);
}
