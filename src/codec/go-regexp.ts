/**
 * Go's regular expressions (RE2 syntax), matched in time linear in the text: patterns come from clients (filters,
 * events, templates), and a backtracking engine would let one of them stop the agent. The pattern becomes a small
 * program of characters, forks and assertions; all its threads advance over the text together, each at most once a
 * position. Two questions are answered: "does it match somewhere", and "what did the groups of the first match take",
 * for which threads are kept in order of preference. Error texts are Go's (reference/http-api.md §4.5).
 */

/** Longest accepted pattern, characters. */
const patternMax = 4096;
/** Deepest nesting of groups. */
const depthMax = 200;
/** Largest count in `{n,m}` (Go's own bound). */
const repeatMax = 1000;
/** Most instructions of a compiled pattern; the work a character of text can cause. */
const programMax = 5_000;

export class GoRegexpError extends Error {
  constructor(reason: string, part: string) {
    super(`error parsing regexp: ${reason}: \`${part}\``);
    this.name = 'GoRegexpError';
  }
}

/** What matching may still cost, shared by whatever matches for one purpose: instructions looked at. */
export interface GoRegexpBudget {
  steps: number;
}

/** The budget is used up. */
export class GoRegexpBudgetError extends Error {}

/**
 * Compiles `pattern`; the result tells whether a text contains a match (unanchored), and throws GoRegexpBudgetError
 * once `budget` is used up.
 * @throws GoRegexpError with Go's text.
 */
export function compileGoRegexp(pattern: string, budget?: GoRegexpBudget): (text: string) => boolean {
  if (pattern.length > patternMax) throw new GoRegexpError('expression too large', `${pattern.slice(0, 32)}…`);
  const program = new Assembler(pattern, { groups: false }).assemble(new Parser(pattern).parse());
  return (text) => run(program, text, budget);
}

/**
 * Compiles `pattern`; the result gives the leftmost match in a text, preferred as Go does: the whole match, then what
 * each group took, "" for one that took no part; null when nothing matches.
 * @throws GoRegexpError with Go's text.
 */
export function compileGoSubmatch(pattern: string): (text: string) => readonly string[] | null {
  if (pattern.length > patternMax) throw new GoRegexpError('expression too large', `${pattern.slice(0, 32)}…`);
  const parser = new Parser(pattern);
  const tree: Tree = { op: 'group', number: 0, item: parser.parse() };
  const program = new Assembler(pattern, { groups: true }).assemble(tree);
  const groups = parser.groups + 1;
  return (text) => submatch(program, text, groups);
}

type CharTest = (code: number) => boolean;
type Assertion = 'text-start' | 'text-end' | 'line-start' | 'line-end' | 'word' | 'not-word';

type Tree =
  | { readonly op: 'char'; readonly test: CharTest }
  | { readonly op: 'assert'; readonly kind: Assertion }
  | { readonly op: 'sequence'; readonly items: readonly Tree[] }
  | { readonly op: 'choice'; readonly items: readonly Tree[] }
  | { readonly op: 'group'; readonly item: Tree; readonly number: number }
  | { readonly op: 'repeat'; readonly item: Tree; readonly min: number; readonly max: number; readonly lazy: boolean };

interface Flags {
  /** i: upper and lower case are equal. */
  readonly fold: boolean;
  /** m: `^` and `$` also match at line ends. */
  readonly lines: boolean;
  /** s: `.` matches a line feed. */
  readonly dotAll: boolean;
  /** U: repeats take as little as they can, and as much with `?`. */
  readonly lazy: boolean;
}

const classes: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\0-\x7f',
  blank: '\t\t  ',
  cntrl: '\0-\x1f\x7f\x7f',
  digit: '0-9',
  graph: '!-~',
  lower: 'a-z',
  print: ' -~',
  punct: '!-/:-@[-`{-~',
  space: '\t-\r  ',
  upper: 'A-Z',
  word: '0-9A-Za-z__',
  xdigit: '0-9A-Fa-f',
};
const perlClasses: Readonly<Record<string, string>> = { d: '0-9', s: '\t\t\n\n\f\f\r\r  ', w: '0-9A-Za-z__' };

/** `a-z` and pairs like `__` to a test. */
function rangesTest(text: string): CharTest {
  const ranges: [number, number][] = [];
  for (let i = 0; i < text.length;) {
    const dash = text[i + 1] === '-' && text[i + 2] !== undefined;
    ranges.push([text.charCodeAt(i), text.charCodeAt(dash ? i + 2 : i + 1)]);
    i += dash ? 3 : 2;
  }
  return (code) => ranges.some(([low, high]) => code >= low && code <= high);
}

const not =
  (test: CharTest): CharTest =>
  (code) =>
    !test(code);

/** The code itself and its simple upper and lower case forms. */
function foldTest(test: CharTest): CharTest {
  return (code) => {
    if (test(code)) return true;
    const character = String.fromCodePoint(code);
    return [character.toLowerCase(), character.toUpperCase()].some((other) => {
      const otherCode = other.codePointAt(0)!;
      return otherCode !== code && other.length === String.fromCodePoint(otherCode).length && test(otherCode);
    });
  };
}

class Parser {
  readonly #pattern: string;
  #at = 0;
  #depth = 0;
  #flags: Flags = { fold: false, lines: false, dotAll: false, lazy: false };
  #groups = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  /** How many capturing groups have been read. */
  get groups(): number {
    return this.#groups;
  }

  parse(): Tree {
    const tree = this.#choice();
    if (this.#at < this.#pattern.length) throw new GoRegexpError('unexpected )', this.#pattern);
    return tree;
  }

  #choice(): Tree {
    if (++this.#depth > depthMax) throw new GoRegexpError('expression nests too deeply', this.#pattern);
    const flags = this.#flags;
    const items = [this.#sequence()];
    while (this.#take('|')) items.push(this.#sequence());
    this.#flags = flags;
    this.#depth--;
    return items.length === 1 ? items[0]! : { op: 'choice', items };
  }

  #sequence(): Tree {
    const items: Tree[] = [];
    while (this.#at < this.#pattern.length && this.#peek() !== '|' && this.#peek() !== ')') {
      const start = this.#at;
      let atom: Tree | undefined;
      if (this.#pattern.startsWith(String.raw`\Q`, this.#at)) {
        const literals = this.#quoted();
        atom = literals.pop();
        items.push(...literals);
      } else {
        atom = this.#atom();
      }
      if (atom !== undefined) items.push(this.#repeated(atom, start));
    }
    return { op: 'sequence', items };
  }

  #quoted(): Tree[] {
    const start = this.#at + 2;
    const end = this.#pattern.indexOf(String.raw`\E`, start);
    this.#at = end < 0 ? this.#pattern.length : end + 2;
    return Array.from(this.#pattern.slice(start, end < 0 ? undefined : end), (c) => this.#literal(c.codePointAt(0)!));
  }

  #repeated(atom: Tree, start: number): Tree {
    let tree = atom;
    let lastOperator: number | undefined;
    for (;;) {
      const operatorAt = this.#at;
      const bounds = this.#repeatBounds();
      if (bounds === undefined) return tree;
      const lazy = this.#take('?') !== this.#flags.lazy;
      if (lastOperator !== undefined) {
        throw new GoRegexpError('invalid nested repetition operator', this.#pattern.slice(lastOperator, this.#at));
      }
      lastOperator = operatorAt;
      tree = { op: 'repeat', item: tree, ...bounds, lazy };
      if (repeatProduct(tree) > repeatMax) {
        throw new GoRegexpError('invalid repeat count', this.#pattern.slice(start, this.#at));
      }
    }
  }

  #repeatBounds(): { min: number; max: number } | undefined {
    if (this.#take('*')) return { min: 0, max: Infinity };
    if (this.#take('+')) return { min: 1, max: Infinity };
    if (this.#take('?')) return { min: 0, max: 1 };
    const counted = /^\{(\d+)(,(\d*))?\}/.exec(this.#pattern.slice(this.#at, this.#at + 32));
    if (counted === null) return undefined;
    const [text, low, comma, high] = counted;
    const min = Number(low);
    const max = comma === undefined ? min : high === '' ? Infinity : Number(high);
    if (min > repeatMax || (max !== Infinity && max > repeatMax) || min > max) {
      throw new GoRegexpError('invalid repeat count', text);
    }
    this.#at += text.length;
    return { min, max };
  }

  /** One item; undefined for a flag group, which matches nothing itself. */
  #atom(): Tree | undefined {
    const start = this.#at;
    const c = this.#next();
    switch (c) {
      case '(':
        return this.#group();
      case '[':
        return this.#char(this.#bracket(start));
      case '.':
        return { op: 'char', test: this.#flags.dotAll ? () => true : (code) => code !== 0x0a };
      case '^':
        return { op: 'assert', kind: this.#flags.lines ? 'line-start' : 'text-start' };
      case '$':
        return { op: 'assert', kind: this.#flags.lines ? 'line-end' : 'text-end' };
      case '\\':
        return this.#escapedAtom(start);
      case '*':
      case '+':
      case '?':
        this.#take('?');
        throw new GoRegexpError('missing argument to repetition operator', this.#pattern.slice(start, this.#at));
      case '{': {
        this.#at = start;
        if (this.#repeatBounds() !== undefined) {
          throw new GoRegexpError('missing argument to repetition operator', this.#pattern.slice(start, this.#at));
        }
        this.#at = start + 1;
        return this.#literal(0x7b);
      }
      default:
        return this.#literal(c.codePointAt(0)!);
    }
  }

  #group(): Tree | undefined {
    const outer = this.#flags;
    let number: number | undefined;
    if (!this.#take('?')) number = ++this.#groups;
    else {
      const rest = this.#pattern.slice(this.#at);
      const name = /^P?<([^>]*)>/.exec(rest);
      if (name !== null && !/^<[=!]/.test(rest)) {
        if (!/^\w+$/.test(name[1]!)) throw new GoRegexpError('invalid named capture', `(?${name[0]}`);
        this.#at += name[0].length;
        number = ++this.#groups;
      } else {
        const flags = /^([imsU]*)(?:-([imsU]+))?([:)])/.exec(rest);
        if (flags === null || flags[0] === ')') {
          throw new GoRegexpError('invalid or unsupported Perl syntax', `(?${rest.slice(0, 1)}`);
        }
        const [text, on = '', off = '', end] = flags;
        const set = (letter: string, before: boolean): boolean =>
          !off.includes(letter) && (on.includes(letter) || before);
        this.#flags = {
          fold: set('i', outer.fold),
          lines: set('m', outer.lines),
          dotAll: set('s', outer.dotAll),
          lazy: set('U', outer.lazy),
        };
        this.#at += text.length;
        if (end === ')') return undefined;
      }
    }
    const tree = this.#choice();
    this.#flags = outer;
    if (!this.#take(')')) throw new GoRegexpError('missing closing )', this.#pattern);
    return number === undefined ? tree : { op: 'group', item: tree, number };
  }

  #escapedAtom(start: number): Tree {
    const c = this.#peek();
    if (c === undefined) throw new GoRegexpError('trailing backslash at end of expression', '');
    const kind = ({ A: 'text-start', z: 'text-end', b: 'word', B: 'not-word' } as const)[c];
    if (kind !== undefined) {
      this.#at++;
      return { op: 'assert', kind };
    }
    const test = this.#classEscape();
    if (test !== undefined) return this.#char(test);
    return this.#literal(this.#escapedCode(start));
  }

  /** After a backslash: `d`, `W`, `pL`, `P{Greek}`; undefined when it is something else. */
  #classEscape(): CharTest | undefined {
    const c = this.#peek() ?? '';
    const perl = perlClasses[c.toLowerCase()];
    if (perl !== undefined) {
      this.#at++;
      return c === c.toLowerCase() ? rangesTest(perl) : not(rangesTest(perl));
    }
    if (c !== 'p' && c !== 'P') return undefined;
    const found = /^[pP](?:\{(\^?)([^}]*)\}|([^{]))/u.exec(this.#pattern.slice(this.#at, this.#at + 64));
    const part = `\\${found?.[0] ?? c}`;
    if (found === null) throw new GoRegexpError('invalid character class range', part);
    this.#at += found[0].length;
    const name = found[2] ?? found[3]!;
    if (name === 'Any') return c === 'p' ? () => true : () => false;
    const property = unicodeProperty(name);
    if (property === undefined) throw new GoRegexpError('invalid character class range', part);
    const test: CharTest = (code) => property.test(String.fromCodePoint(code));
    return (c === 'P') !== (found[1] === '^') ? not(test) : test;
  }

  #escapedCode(start: number): number {
    const rest = this.#pattern.slice(this.#at);
    const numeric = /^(?:([0-7]{1,3})|x([\da-fA-F]{2})|x\{([\da-fA-F]+)\})/.exec(rest);
    // \1 to \7 alone would be back-references, which RE2 does not have
    if (numeric !== null && !(numeric[1] !== undefined && numeric[1].length === 1 && numeric[1] !== '0')) {
      const code =
        numeric[1] === undefined ? Number.parseInt(numeric[2] ?? numeric[3]!, 16) : Number.parseInt(numeric[1], 8);
      if (code <= 0x10_ff_ff) {
        this.#at += numeric[0].length;
        return code;
      }
    }
    const c = rest.codePointAt(0);
    if (c === undefined) throw new GoRegexpError('trailing backslash at end of expression', '');
    const character = String.fromCodePoint(c);
    this.#at += character.length;
    const control = ({ a: 7, f: 12, t: 9, n: 10, r: 13, v: 11 } as Readonly<Record<string, number>>)[character];
    if (control !== undefined) return control;
    if (c < 0x80 && !/\w/.test(character)) return c;
    throw new GoRegexpError('invalid escape sequence', this.#pattern.slice(start, this.#at));
  }

  #bracket(start: number): CharTest {
    const negated = this.#take('^');
    const tests: CharTest[] = [];
    const unclosed = (): GoRegexpError => new GoRegexpError('missing closing ]', this.#pattern.slice(start));
    for (let first = true; ; first = false) {
      if (this.#at >= this.#pattern.length) throw unclosed();
      if (!first && this.#take(']')) break;
      const named = /^\[:(\^?)(\w+):\]/.exec(this.#pattern.slice(this.#at, this.#at + 24));
      if (named !== null) {
        const ranges = Object.hasOwn(classes, named[2]!) ? classes[named[2]!] : undefined;
        if (ranges === undefined) throw new GoRegexpError('invalid character class range', named[0]);
        tests.push(named[1] === '^' ? not(rangesTest(ranges)) : rangesTest(ranges));
        this.#at += named[0].length;
        continue;
      }
      const rangeAt = this.#at;
      if (this.#peek() === '\\') {
        this.#at++;
        const test = this.#classEscape();
        if (test !== undefined) {
          tests.push(test);
          continue;
        }
        this.#at--;
      }
      const low = this.#bracketCode(unclosed);
      let high = low;
      if (this.#peek() === '-' && this.#pattern[this.#at + 1] !== ']' && this.#at + 1 < this.#pattern.length) {
        this.#at++;
        high = this.#bracketCode(unclosed);
        if (high < low) {
          throw new GoRegexpError('invalid character class range', this.#pattern.slice(rangeAt, this.#at));
        }
      }
      tests.push((code) => code >= low && code <= high);
    }
    const any: CharTest = (code) => tests.some((test) => test(code));
    const folded = this.#flags.fold ? foldTest(any) : any;
    return negated ? not(folded) : folded;
  }

  #bracketCode(unclosed: () => GoRegexpError): number {
    const start = this.#at;
    if (this.#at >= this.#pattern.length) throw unclosed();
    const c = this.#next();
    return c === '\\' ? this.#escapedCode(start) : c.codePointAt(0)!;
  }

  #char(test: CharTest): Tree {
    return { op: 'char', test };
  }

  #literal(code: number): Tree {
    const test: CharTest = (other) => other === code;
    return { op: 'char', test: this.#flags.fold ? foldTest(test) : test };
  }

  #peek(): string | undefined {
    return this.#pattern[this.#at];
  }

  #next(): string {
    const character = String.fromCodePoint(this.#pattern.codePointAt(this.#at)!);
    this.#at += character.length;
    return character;
  }

  #take(character: string): boolean {
    if (this.#pattern[this.#at] !== character) return false;
    this.#at++;
    return true;
  }
}

/** How many copies nested counted repeats would make. */
function repeatProduct(tree: Tree): number {
  switch (tree.op) {
    case 'repeat':
      return Math.max(tree.max === Infinity ? tree.min : tree.max, 1) * repeatProduct(tree.item);
    case 'group':
      return repeatProduct(tree.item);
    case 'sequence':
    case 'choice':
      return Math.max(1, ...tree.items.map(repeatProduct));
    default:
      return 1;
  }
}

function unicodeProperty(name: string): RegExp | undefined {
  if (!/^\w+$/.test(name)) return undefined;
  for (const form of [`\\p{General_Category=${name}}`, `\\p{Script=${name}}`]) {
    try {
      return new RegExp(`^${form}$`, 'u');
    } catch {
      // not a property of this kind
    }
  }
  return undefined;
}

type Instruction =
  | { readonly op: 'char'; readonly test: CharTest; readonly next: number }
  | { readonly op: 'assert'; readonly kind: Assertion; readonly next: number }
  /** `next` is preferred. */
  | { readonly op: 'fork'; next: number; other: number }
  /** Notes the place: where group `slot / 2` begins, or ends when `slot` is odd. */
  | { readonly op: 'note'; readonly slot: number; readonly next: number }
  | { readonly op: 'match' };

interface Program {
  readonly instructions: readonly Instruction[];
  readonly start: number;
}

/** Tree to program, from the end backwards: each piece is given the instruction that follows it. */
class Assembler {
  readonly #pattern: string;
  readonly #groups: boolean;
  readonly #instructions: Instruction[] = [];

  /** @param options.groups whether the program notes what groups take. */
  constructor(pattern: string, options: { readonly groups: boolean }) {
    this.#pattern = pattern;
    this.#groups = options.groups;
  }

  assemble(tree: Tree): Program {
    const match = this.#emit({ op: 'match' });
    return { start: this.#tree(tree, match), instructions: this.#instructions };
  }

  #emit(instruction: Instruction): number {
    if (this.#instructions.length >= programMax) throw new GoRegexpError('expression too large', this.#pattern);
    return this.#instructions.push(instruction) - 1;
  }

  #tree(tree: Tree, next: number): number {
    switch (tree.op) {
      case 'char':
        return this.#emit({ op: 'char', test: tree.test, next });
      case 'assert':
        return this.#emit({ op: 'assert', kind: tree.kind, next });
      case 'sequence':
        return tree.items.reduceRight((after, item) => this.#tree(item, after), next);
      case 'choice':
        return tree.items
          .map((item) => this.#tree(item, next))
          .reduceRight((other, first) => this.#emit({ op: 'fork', next: first, other }));
      case 'group': {
        if (!this.#groups) return this.#tree(tree.item, next);
        const end = this.#emit({ op: 'note', slot: 2 * tree.number + 1, next });
        return this.#emit({ op: 'note', slot: 2 * tree.number, next: this.#tree(tree.item, end) });
      }
      case 'repeat':
        return this.#repeat(tree, next);
    }
  }

  #repeat({ item, min, max, lazy }: Extract<Tree, { op: 'repeat' }>, next: number): number {
    let entry = next;
    if (max === Infinity) {
      const loop = { op: 'fork' as const, next, other: next };
      entry = this.#emit(loop);
      const again = this.#tree(item, entry);
      if (lazy) loop.other = again;
      else loop.next = again;
    } else {
      for (let i = min; i < max; i++) {
        const once = this.#tree(item, entry);
        entry = this.#emit(lazy ? { op: 'fork', next, other: once } : { op: 'fork', next: once, other: next });
      }
    }
    for (let i = 0; i < min; i++) entry = this.#tree(item, entry);
    return entry;
  }
}

const isWord = rangesTest(perlClasses.w!);

function run({ instructions, start }: Program, text: string, budget: GoRegexpBudget | undefined): boolean {
  const current: number[] = [];
  const waiting: number[] = [];
  const seen = new Int32Array(instructions.length).fill(-1);
  const pending: number[] = [];
  let before = -1;
  for (let at = 0, step = 0; ; step++) {
    const code = at < text.length ? text.codePointAt(at)! : -1;
    pending.push(start, ...current);
    waiting.length = 0;
    let looked = 0;
    while (pending.length > 0) {
      const index = pending.pop()!;
      looked++;
      if (seen[index] === step) continue;
      seen[index] = step;
      const instruction = instructions[index]!;
      if (instruction.op === 'match') return true;
      if (instruction.op === 'fork') pending.push(instruction.other, instruction.next);
      else if (instruction.op === 'char') waiting.push(index);
      else if (instruction.op === 'note') pending.push(instruction.next);
      else if (holds(instruction.kind, before, code)) pending.push(instruction.next);
    }
    if (budget !== undefined && (budget.steps -= looked) < 0) throw new GoRegexpBudgetError();
    if (code < 0) return false;
    current.length = 0;
    for (const index of waiting) {
      const instruction = instructions[index]!;
      if (instruction.op === 'char' && instruction.test(code)) current.push(instruction.next);
    }
    before = code;
    at += code > 0xffff ? 2 : 1;
  }
}

/** A place noted by a thread; the latest of a slot counts. */
interface Note {
  readonly slot: number;
  readonly at: number;
  readonly earlier: Note | null;
}

interface Thread {
  readonly index: number;
  readonly notes: Note | null;
}

function submatch({ instructions, start }: Program, text: string, groups: number): readonly string[] | null {
  let current: Thread[] = [];
  let found: Note | null = null;
  const seen = new Int32Array(instructions.length).fill(-1);
  let before = -1;
  for (let at = 0, step = 0; ; step++) {
    const code = at < text.length ? text.codePointAt(at)! : -1;
    const waiting: Thread[] = [];
    // The most preferred thread on top; a match of a thread ends all that come after it.
    const pending = current.toReversed();
    if (found === null) pending.unshift({ index: start, notes: null });
    while (pending.length > 0) {
      const { index, notes } = pending.pop()!;
      if (seen[index] === step) continue;
      seen[index] = step;
      const instruction = instructions[index]!;
      if (instruction.op === 'match') {
        found = notes;
        break;
      }
      if (instruction.op === 'fork') {
        pending.push({ index: instruction.other, notes }, { index: instruction.next, notes });
      } else if (instruction.op === 'char') {
        waiting.push({ index, notes });
      } else if (instruction.op === 'note') {
        pending.push({ index: instruction.next, notes: { slot: instruction.slot, at, earlier: notes } });
      } else if (holds(instruction.kind, before, code)) {
        pending.push({ index: instruction.next, notes });
      }
    }
    if (code < 0 || (found !== null && waiting.length === 0)) break;
    current = [];
    for (const { index, notes } of waiting) {
      const instruction = instructions[index]!;
      if (instruction.op === 'char' && instruction.test(code)) current.push({ index: instruction.next, notes });
    }
    before = code;
    at += code > 0xffff ? 2 : 1;
  }
  return found === null ? null : takenBy(found, text, groups);
}

function takenBy(notes: Note, text: string, groups: number): readonly string[] {
  const places = new Map<number, number>();
  for (let note: Note | null = notes; note !== null; note = note.earlier) {
    if (!places.has(note.slot)) places.set(note.slot, note.at);
  }
  return Array.from({ length: groups }, (_, group) =>
    text.slice(places.get(2 * group), places.get(2 * group + 1) ?? 0),
  );
}

function holds(kind: Assertion, before: number, after: number): boolean {
  switch (kind) {
    case 'text-start':
      return before < 0;
    case 'text-end':
      return after < 0;
    case 'line-start':
      return before < 0 || before === 0x0a;
    case 'line-end':
      return after < 0 || after === 0x0a;
    case 'word':
    case 'not-word':
      return ((before >= 0 && isWord(before)) !== (after >= 0 && isWord(after))) === (kind === 'word');
  }
}
