/**
 * The part of Go's `text/template` that tag templates use (reference/registrator.md §5.4, R26): text with `{{ }}`
 * actions — fields, variables, pipelines, function calls, `if`, `range`, `with`, comments, trim markers. A template is
 * parsed and its field names are checked at start-up, so that a typing error ends the start and not the first
 * registration. Templates reach nothing but their document: `httpGet` is refused.
 */
import type { TemplateValue } from './document.ts';

export class TemplateError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'TemplateError';
  }
}

/** A parsed template; `render` throws TemplateError when the data does not fit. */
export interface Template {
  readonly text: string;
  render(document: TemplateValue): string;
}

/** Longest output of one template, characters: more is a runaway `range`, not a tag list. */
const outputLengthMax = 64 * 1024;
/** Deepest nesting of actions and parentheses. */
const depthMax = 64;

type Expression =
  | { readonly kind: 'literal'; readonly value: TemplateValue }
  | { readonly kind: 'chain'; readonly base: Expression; readonly path: readonly string[] }
  | { readonly kind: 'dot' }
  | { readonly kind: 'variable'; readonly name: string }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expression[] };

type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'print'; readonly value: Expression }
  | { readonly kind: 'assign'; readonly name: string; readonly declare: boolean; readonly value: Expression }
  | {
      readonly kind: 'if';
      readonly test: Expression;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
    }
  | {
      readonly kind: 'with';
      readonly test: Expression;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
    }
  | {
      readonly kind: 'range';
      readonly over: Expression;
      readonly names: readonly string[];
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
    };

/**
 * Parses a template and checks its field names against `sample`, a document with every field.
 * @throws TemplateError that says what is wrong and where.
 */
export function parseTemplate(text: string, sample: TemplateValue): Template {
  const nodes = new Parser(text).parse();
  checkFields(nodes, sample);
  return {
    text,
    render: (document) => {
      const output: string[] = [];
      let length = 0;
      run(nodes, { dot: document, variables: [new Map([['$', document]])] }, (part) => {
        length += part.length;
        if (length > outputLengthMax)
          throw new TemplateError(`the output is longer than ${outputLengthMax} characters`);
        output.push(part);
      });
      return output.join('');
    },
  };
}

// --- lexer -----------------------------------------------------------------------------------------------------

type Token =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly tokens: readonly Word[]; readonly at: number };

interface Word {
  readonly kind: 'string' | 'number' | 'word' | 'variable' | 'field' | 'symbol';
  readonly text: string;
  /** Whether white space stands before it: `.A.B` is a chain, `.A .B` two operands. */
  readonly spaced: boolean;
}

function lex(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let trimNext = false;
  while (at <= text.length) {
    const open = text.indexOf('{{', at);
    let literal = text.slice(at, open < 0 ? text.length : open);
    if (trimNext) literal = literal.trimStart();
    if (open < 0) {
      if (literal !== '') tokens.push({ kind: 'text', text: literal });
      break;
    }
    let inner = open + 2;
    if (text[inner] === '-' && /\s/.test(text[inner + 1] ?? '')) {
      literal = literal.trimEnd();
      inner += 2;
    }
    if (literal !== '') tokens.push({ kind: 'text', text: literal });
    const comment = /^\s*\/\*[\s\S]*?\*\/\s*?(\s-)?\}\}/.exec(text.slice(inner));
    if (comment) {
      trimNext = comment[1] !== undefined;
      at = inner + comment[0].length;
      continue;
    }
    const { words, end, trim } = lexAction(text, inner, open);
    tokens.push({ kind: 'action', tokens: words, at: open });
    trimNext = trim;
    at = end;
  }
  return tokens;
}

const wordPattern =
  /\s*(?:("(?:[^"\\\n]|\\.)*"|`[^`]*`)|([+-]?\d+(?:\.\d+)?)|(\$[A-Za-z0-9_]*)|(\.[A-Za-z_][A-Za-z0-9_]*)|([A-Za-z_][A-Za-z0-9_]*)|(:=|[|()=,.]))/y;

function lexAction(text: string, start: number, open: number): { words: Word[]; end: number; trim: boolean } {
  const words: Word[] = [];
  let at = start;
  for (;;) {
    const close = /^(\s+-)?\s*\}\}/.exec(text.slice(at));
    if (close) return { words, end: at + close[0].length, trim: close[1] !== undefined };
    wordPattern.lastIndex = at;
    const match = wordPattern.exec(text);
    if (match === null) {
      const rest = text.slice(at).trimStart();
      throw new TemplateError(
        rest === ''
          ? `the action at character ${open + 1} is not closed; end it with }}`
          : `unexpected "${rest.slice(0, 10)}" in the action at character ${open + 1}`,
      );
    }
    const spaced = /^\s/.test(match[0]);
    const [, string, number, variable, field, word, symbol] = match;
    if (string !== undefined) words.push({ kind: 'string', text: unquote(string), spaced });
    else if (number !== undefined) words.push({ kind: 'number', text: number, spaced });
    else if (variable !== undefined) words.push({ kind: 'variable', text: variable, spaced });
    else if (field !== undefined) words.push({ kind: 'field', text: field.slice(1), spaced });
    else if (word !== undefined) words.push({ kind: 'word', text: word, spaced });
    else words.push({ kind: 'symbol', text: symbol!, spaced });
    at = wordPattern.lastIndex;
  }
}

function unquote(text: string): string {
  if (text.startsWith('`')) return text.slice(1, -1);
  return text
    .slice(1, -1)
    .replaceAll(/\\(.)/g, (_, escaped: string) => ({ n: '\n', t: '\t', r: '\r' })[escaped] ?? escaped);
}

// --- parser ----------------------------------------------------------------------------------------------------

class Parser {
  readonly #tokens: Token[];
  #next = 0;
  #words: readonly Word[] = [];
  #word = 0;
  #where = 0;
  #depth = 0;
  #variables: string[] = ['$'];

  constructor(text: string) {
    this.#tokens = lex(text);
  }

  parse(): Node[] {
    const { nodes, ended } = this.#block();
    if (ended !== undefined) throw this.#error(`unexpected {{${ended}}}`);
    return nodes;
  }

  /** Nodes up to the matching `end` or `else`, which stays the current action. */
  #block(): { nodes: Node[]; ended: 'end' | 'else' | undefined } {
    const nodes: Node[] = [];
    const scope = this.#variables.length;
    for (;;) {
      const token = this.#tokens[this.#next++];
      if (token === undefined) return { nodes, ended: undefined };
      if (token.kind === 'text') {
        nodes.push(token);
        continue;
      }
      this.#words = token.tokens;
      this.#word = 0;
      this.#where = token.at;
      const first = this.#peek();
      if (first?.kind === 'word' && (first.text === 'end' || first.text === 'else')) {
        this.#word++;
        this.#variables.length = scope;
        return { nodes, ended: first.text };
      }
      nodes.push(this.#action(first));
    }
  }

  #action(first: Word | undefined): Node {
    if (first === undefined) throw this.#error('missing value for command');
    if (first.kind === 'word' && (first.text === 'if' || first.text === 'with' || first.text === 'range')) {
      this.#word++;
      return this.#control(first.text);
    }
    if (first.kind === 'word' && ['template', 'define', 'block', 'break', 'continue'].includes(first.text)) {
      throw this.#error(`{{${first.text}}} is not supported`);
    }
    const operator = this.#words[this.#word + 1];
    if (first.kind === 'variable' && operator?.kind === 'symbol' && (operator.text === ':=' || operator.text === '=')) {
      this.#word += 2;
      const value = this.#pipeline();
      this.#finish();
      const declare = operator.text === ':=';
      if (declare) this.#variables.push(first.text);
      else this.#known(first.text);
      return { kind: 'assign', name: first.text, declare, value };
    }
    const value = this.#pipeline();
    this.#finish();
    return { kind: 'print', value };
  }

  #control(kind: 'if' | 'with' | 'range'): Node {
    if (++this.#depth > depthMax) throw this.#error(`actions are nested deeper than ${depthMax}`);
    const scope = this.#variables.length;
    const names: string[] = [];
    const assign = this.#words.findIndex((word) => word.kind === 'symbol' && word.text === ':=');
    if (assign > 0) {
      for (; this.#word < assign; this.#word++) {
        const word = this.#words[this.#word]!;
        if (word.kind === 'variable') names.push(word.text);
        else if (word.text !== ',') throw this.#error(`unexpected "${word.text}" before :=`);
      }
      this.#word++;
      if (names.length > (kind === 'range' ? 2 : 1)) throw this.#error(`too many variables in ${kind}`);
    }
    const value = this.#pipeline();
    this.#finish();
    this.#variables.push(...names);
    const block = this.#block();
    const body = block.nodes;
    let otherwise: Node[] = [];
    if (block.ended === 'else') {
      const next = this.#peek();
      if (next?.kind === 'word' && (next.text === 'if' || next.text === 'with')) {
        this.#word++;
        otherwise = [this.#control(next.text)];
        this.#variables.length = scope;
        this.#depth--;
        return this.#controlNode(kind, value, names, body, otherwise);
      }
      this.#finish();
      const rest = this.#block();
      if (rest.ended !== 'end') throw this.#error(`{{${kind}}} has no {{end}}`);
      otherwise = rest.nodes;
    } else if (block.ended !== 'end') {
      throw this.#error(`{{${kind}}} has no {{end}}`);
    }
    this.#finish();
    this.#variables.length = scope;
    this.#depth--;
    return this.#controlNode(kind, value, names, body, otherwise);
  }

  #controlNode(
    kind: 'if' | 'with' | 'range',
    value: Expression,
    names: string[],
    body: Node[],
    otherwise: Node[],
  ): Node {
    if (kind === 'range') return { kind, over: value, names, body, otherwise };
    if (names.length === 0) return { kind, test: value, body, otherwise };
    // `{{with $x := pipeline}}`: the variable is set first and then tested.
    const name = names[0]!;
    const test: Expression = { kind: 'variable', name };
    return {
      kind: 'if',
      test: { kind: 'literal', value: true },
      body: [
        { kind: 'assign', name, declare: true, value },
        { kind, test, body, otherwise },
      ],
      otherwise: [],
    };
  }

  #pipeline(): Expression {
    let value = this.#command(undefined);
    for (;;) {
      const word = this.#peek();
      if (word?.kind !== 'symbol' || word.text !== '|') return value;
      this.#word++;
      value = this.#command(value);
    }
  }

  /** One command of a pipeline; `piped` becomes its last argument. */
  #command(piped: Expression | undefined): Expression {
    const first = this.#peek();
    if (first?.kind === 'word' && !['true', 'false', 'nil'].includes(first.text)) {
      this.#word++;
      const args: Expression[] = [];
      while (this.#startsOperand()) args.push(this.#operand());
      if (piped !== undefined) args.push(piped);
      return this.#call(first.text, args);
    }
    const value = this.#operand();
    if (this.#startsOperand()) throw this.#error('only a function takes arguments');
    if (piped !== undefined) throw this.#error('a value cannot stand behind "|"; pipe into a function');
    return value;
  }

  #call(name: string, args: readonly Expression[]): Expression {
    if (name === 'httpGet') {
      throw this.#error(
        'httpGet is refused: templates have no network access; put the value into a host meta variable',
      );
    }
    const definition = functions[name];
    if (definition === undefined) {
      throw this.#error(`function "${name}" not defined; there are ${Object.keys(functions).sort().join(', ')}`);
    }
    const [min, max] = definition.args;
    if (args.length < min || args.length > max) {
      const wanted = min === max ? String(min) : max === Infinity ? `at least ${min}` : `${min} to ${max}`;
      throw this.#error(`wrong number of args for ${name}: want ${wanted} got ${args.length}`);
    }
    return { kind: 'call', name, args };
  }

  #startsOperand(): boolean {
    const word = this.#peek();
    if (word === undefined) return false;
    return word.kind !== 'symbol' || word.text === '(' || word.text === '.';
  }

  #operand(): Expression {
    const word = this.#peek();
    if (word === undefined) throw this.#error('missing value for command');
    this.#word++;
    let value: Expression;
    if (word.kind === 'string') value = { kind: 'literal', value: word.text };
    else if (word.kind === 'number') value = { kind: 'literal', value: Number(word.text) };
    else if (word.kind === 'variable') {
      this.#known(word.text);
      value = { kind: 'variable', name: word.text };
    } else if (word.kind === 'field') value = { kind: 'chain', base: { kind: 'dot' }, path: [word.text] };
    else if (word.kind === 'word') value = this.#word0(word.text);
    else if (word.text === '.') value = { kind: 'dot' };
    else if (word.text === '(') {
      if (++this.#depth > depthMax) throw this.#error(`parentheses are nested deeper than ${depthMax}`);
      value = this.#pipeline();
      const close = this.#peek();
      if (close?.kind !== 'symbol' || close.text !== ')') throw this.#error('unclosed left paren');
      this.#word++;
      this.#depth--;
    } else throw this.#error(`unexpected "${word.text}"`);
    const path: string[] = [];
    for (let next = this.#peek(); next?.kind === 'field' && !next.spaced; next = this.#peek()) {
      path.push(next.text);
      this.#word++;
    }
    if (path.length === 0) return value;
    if (value.kind === 'chain') return { ...value, path: [...value.path, ...path] };
    return { kind: 'chain', base: value, path };
  }

  #word0(text: string): Expression {
    if (text === 'true' || text === 'false') return { kind: 'literal', value: text === 'true' };
    if (text === 'nil') return { kind: 'literal', value: undefined };
    return this.#call(text, []);
  }

  #known(name: string): void {
    if (!this.#variables.includes(name)) throw this.#error(`undefined variable "${name}"`);
  }

  #peek(): Word | undefined {
    return this.#words[this.#word];
  }

  #finish(): void {
    const word = this.#peek();
    if (word !== undefined) throw this.#error(`unexpected "${word.text}"`);
  }

  #error(message: string): TemplateError {
    return new TemplateError(`${message} (action at character ${this.#where + 1})`);
  }
}

// --- check at start-up -----------------------------------------------------------------------------------------

/** Walks every field chain that starts at the root document; inside `with` and `range` the dot is something else. */
function checkFields(nodes: readonly Node[], root: TemplateValue): void {
  const expression = (value: Expression, dotIsRoot: boolean): void => {
    if (value.kind === 'call') for (const arg of value.args) expression(arg, dotIsRoot);
    if (value.kind !== 'chain') return;
    expression(value.base, dotIsRoot);
    const fromRoot =
      (value.base.kind === 'dot' && dotIsRoot) || (value.base.kind === 'variable' && value.base.name === '$');
    if (!fromRoot) return;
    let at: TemplateValue = root;
    for (const name of value.path) {
      if (at instanceof Map || Array.isArray(at)) return;
      at = field(at, name);
    }
  };
  const walk = (list: readonly Node[], dotIsRoot: boolean): void => {
    for (const node of list) {
      if (node.kind === 'print' || node.kind === 'assign') expression(node.value, dotIsRoot);
      if (node.kind === 'if' || node.kind === 'with') {
        expression(node.test, dotIsRoot);
        walk(node.body, dotIsRoot && node.kind === 'if');
        walk(node.otherwise, dotIsRoot);
      }
      if (node.kind === 'range') {
        expression(node.over, dotIsRoot);
        walk(node.body, false);
        walk(node.otherwise, dotIsRoot);
      }
    }
  };
  walk(nodes, true);
}

// --- execution -------------------------------------------------------------------------------------------------

interface Scope {
  readonly dot: TemplateValue;
  /** Innermost last. */
  readonly variables: readonly Map<string, TemplateValue>[];
}

function run(nodes: readonly Node[], outer: Scope, write: (text: string) => void): void {
  const scope: Scope = { dot: outer.dot, variables: [...outer.variables, new Map()] };
  const own = scope.variables.at(-1)!;
  for (const node of nodes) {
    switch (node.kind) {
      case 'text':
        write(node.text);
        break;
      case 'print':
        write(format(evaluate(node.value, scope)));
        break;
      case 'assign': {
        const value = evaluate(node.value, scope);
        const target = node.declare ? own : (scope.variables.findLast((each) => each.has(node.name)) ?? own);
        target.set(node.name, value);
        break;
      }
      case 'if':
        run(truth(evaluate(node.test, scope)) ? node.body : node.otherwise, scope, write);
        break;
      case 'with': {
        const value = evaluate(node.test, scope);
        if (truth(value)) run(node.body, { ...scope, dot: value }, write);
        else run(node.otherwise, scope, write);
        break;
      }
      case 'range': {
        const entries = entriesOf(evaluate(node.over, scope));
        if (entries.length === 0) run(node.otherwise, scope, write);
        for (const [key, value] of entries) {
          const [first, second] = node.names;
          const names = new Map<string, TemplateValue>();
          if (second !== undefined) names.set(first!, key).set(second, value);
          else if (first !== undefined) names.set(first, value);
          run(node.body, { dot: value, variables: [...scope.variables, names] }, write);
        }
        break;
      }
    }
  }
}

function entriesOf(value: TemplateValue): readonly (readonly [TemplateValue, TemplateValue])[] {
  if (value === undefined) return [];
  if (isMap(value)) return [...value].sort(([a], [b]) => (a < b ? -1 : 1));
  if (isList(value)) return value.map((each, index) => [index, each] as const);
  throw new TemplateError(`range can't iterate over ${format(value)}`);
}

function evaluate(value: Expression, scope: Scope): TemplateValue {
  switch (value.kind) {
    case 'literal':
      return value.value;
    case 'dot':
      return scope.dot;
    case 'variable':
      return scope.variables.findLast((each) => each.has(value.name))?.get(value.name);
    case 'chain': {
      let at = evaluate(value.base, scope);
      for (const name of value.path) at = field(at, name);
      return at;
    }
    case 'call': {
      const definition = functions[value.name]!;
      if (definition.lazy !== undefined) return definition.lazy(value.args, (arg) => evaluate(arg, scope));
      return definition.call(value.args.map((arg) => evaluate(arg, scope)));
    }
  }
}

function field(value: TemplateValue, name: string): TemplateValue {
  if (isMap(value)) return value.get(name) ?? '';
  if (typeof value !== 'object' || isList(value)) {
    throw new TemplateError(`can't evaluate field ${name} in ${value === undefined ? 'nil' : `"${format(value)}"`}`);
  }
  if (!Object.hasOwn(value, name)) {
    throw new TemplateError(`can't evaluate field ${name}; the fields here are ${Object.keys(value).join(', ')}`);
  }
  return value[name];
}

function isMap(value: TemplateValue): value is ReadonlyMap<string, TemplateValue> {
  return value instanceof Map;
}

function isList(value: TemplateValue): value is readonly TemplateValue[] {
  return Array.isArray(value);
}

/** Go's truth: not zero, not empty. */
function truth(value: TemplateValue): boolean {
  if (isMap(value)) return value.size > 0;
  if (isList(value)) return value.length > 0;
  return typeof value === 'object' ? true : Boolean(value);
}

/** Go's `%v` of the kinds we have. */
function format(value: TemplateValue): string {
  if (value === undefined) return '';
  if (isMap(value))
    return `map[${entriesOf(value)
      .map(([key, each]) => `${format(key)}:${format(each)}`)
      .join(' ')}]`;
  if (isList(value)) return `[${value.map(format).join(' ')}]`;
  if (typeof value === 'object') return `{${Object.values(value).map(format).join(' ')}}`;
  return String(value);
}

// --- functions -------------------------------------------------------------------------------------------------

interface FunctionDefinition {
  /** Fewest and most arguments. */
  readonly args: readonly [number, number];
  readonly call: (args: readonly TemplateValue[]) => TemplateValue;
  /** For `and` and `or`, which stop at the first argument that decides. */
  readonly lazy?: (args: readonly Expression[], evaluateArg: (arg: Expression) => TemplateValue) => TemplateValue;
}

function text(value: TemplateValue): string {
  if (typeof value === 'object') throw new TemplateError(`expected a string, got ${format(value)}`);
  return value === undefined ? '' : String(value);
}

function integer(value: TemplateValue): number {
  if (typeof value !== 'number' || !Number.isInteger(value))
    throw new TemplateError(`expected an integer, got ${format(value)}`);
  return value;
}

function list(value: TemplateValue): readonly TemplateValue[] {
  if (value === undefined) return [];
  if (!isList(value)) throw new TemplateError(`expected a list, got ${format(value)}`);
  return value;
}

/** The element; negative counts from the end, out of range clamps (§5.4). */
function clamped(index: number, values: readonly TemplateValue[]): TemplateValue {
  if (values.length === 0) return '';
  const at = index < 0 ? values.length + index : index;
  return values[Math.min(Math.max(at, 0), values.length - 1)];
}

function regexp(pattern: TemplateValue): RegExp {
  try {
    return new RegExp(text(pattern));
  } catch {
    throw new TemplateError(`bad regular expression "${text(pattern)}"`);
  }
}

function compare(a: TemplateValue, b: TemplateValue): number {
  if (typeof a !== typeof b || typeof a === 'object') {
    throw new TemplateError(`incompatible types for comparison: ${format(a)} and ${format(b)}`);
  }
  return a === b ? 0 : (a as string | number) < (b as string | number) ? -1 : 1;
}

function replaceFirst(n: number, old: string, replacement: string, subject: string): string {
  if (n < 0) return subject.replaceAll(old, () => replacement);
  let result = '';
  let rest = subject;
  for (let i = 0; i < n; i++) {
    const at = rest.indexOf(old);
    if (at < 0 || rest === '') break;
    result += rest.slice(0, at) + replacement;
    rest = rest.slice(at + old.length);
  }
  return result + rest;
}

function fromJson(value: unknown): TemplateValue {
  if (value === null) return undefined;
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value === 'object') {
    return new Map(Object.entries(value).map(([key, each]) => [key, fromJson(each)] as const));
  }
  return value as string | number | boolean;
}

const plain = (min: number, max: number, call: FunctionDefinition['call']): FunctionDefinition => ({
  args: [min, max],
  call,
});
const ordered = (test: (order: number) => boolean): FunctionDefinition => plain(2, 2, ([a, b]) => test(compare(a, b)));

const functions: Readonly<Record<string, FunctionDefinition>> = Object.assign(
  Object.create(null) as Record<string, FunctionDefinition>,
  {
    strSlice: plain(2, 3, ([s, start, end]) => {
      const subject = text(s);
      const to = end === undefined ? subject.length : integer(end);
      return subject.slice(Math.max(integer(start), 0), Math.max(to, 0));
    }),
    sIndex: plain(2, 2, ([i, values]) => clamped(integer(i), list(values))),
    mIndex: plain(2, 2, ([key, map]) => {
      if (map !== undefined && !isMap(map)) throw new TemplateError(`expected a map, got ${format(map)}`);
      return map?.get(text(key)) ?? '';
    }),
    toUpper: plain(1, 1, ([s]) => text(s).toUpperCase()),
    toLower: plain(1, 1, ([s]) => text(s).toLowerCase()),
    replace: plain(4, 4, ([n, old, replacement, s]) => replaceFirst(integer(n), text(old), text(replacement), text(s))),
    join: plain(2, 2, ([separator, values]) => list(values).map(format).join(text(separator))),
    split: plain(2, 2, ([separator, s]) => text(s).split(text(separator))),
    splitIndex: plain(3, 3, ([i, separator, s]) => clamped(integer(i), text(s).split(text(separator)))),
    matchFirstElement: plain(2, 2, ([pattern, values]) => {
      const test = regexp(pattern);
      return list(values).find((each) => test.test(text(each))) ?? '';
    }),
    matchAllElements: plain(2, 2, ([pattern, values]) => {
      const test = regexp(pattern);
      return list(values).filter((each) => test.test(text(each)));
    }),
    jsonParse: plain(2, 2, ([json, path]) => {
      let value: TemplateValue;
      try {
        value = fromJson(JSON.parse(text(json)));
      } catch {
        return '';
      }
      for (const key of text(path).split('::')) {
        if (isMap(value)) value = value.get(key);
        else if (isList(value)) value = value[Number(key)];
        else return '';
      }
      return value ?? '';
    }),
    and: {
      args: [1, Infinity],
      call: (args) => args.at(-1),
      lazy: (args, evaluateArg) => {
        let value: TemplateValue;
        for (const arg of args) if (!truth((value = evaluateArg(arg)))) break;
        return value;
      },
    },
    or: {
      args: [1, Infinity],
      call: (args) => args.at(-1),
      lazy: (args, evaluateArg) => {
        let value: TemplateValue;
        for (const arg of args) if (truth((value = evaluateArg(arg)))) break;
        return value;
      },
    },
    not: plain(1, 1, ([value]) => !truth(value)),
    len: plain(1, 1, ([value]) => {
      if (isMap(value)) return value.size;
      return isList(value) ? value.length : text(value).length;
    }),
    index: plain(2, Infinity, ([value, ...keys]) => {
      let at = value;
      for (const key of keys) {
        if (isMap(at)) at = at.get(text(key)) ?? '';
        else {
          const values = list(at);
          const index = integer(key);
          if (index < 0 || index >= values.length) throw new TemplateError(`index out of range: ${index}`);
          at = values[index];
        }
      }
      return at;
    }),
    eq: plain(2, Infinity, ([first, ...others]) => others.some((other) => compare(first, other) === 0)),
    ne: ordered((order) => order !== 0),
    lt: ordered((order) => order < 0),
    le: ordered((order) => order <= 0),
    gt: ordered((order) => order > 0),
    ge: ordered((order) => order >= 0),
    print: plain(0, Infinity, (args) => args.map(format).join('')),
    printf: plain(1, Infinity, ([pattern, ...args]) => {
      let next = 0;
      return text(pattern).replaceAll(/%([sdvq%])/g, (_, verb: string) => {
        if (verb === '%') return '%';
        const arg = format(args[next++]);
        return verb === 'q' ? JSON.stringify(arg) : arg;
      });
    }),
  } satisfies Record<string, FunctionDefinition>,
);
