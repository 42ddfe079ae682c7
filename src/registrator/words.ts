/**
 * Splits a command into words as a shell does: white space separates, quotes and backslashes join (R31, R32). It knows
 * no variables and no operators; {@link needsShell} says whether a command has any.
 */

/** The words; undefined when a quote is left open. */
export function splitWords(text: string): string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (quote === "'") {
      if (char === "'") quote = '';
      else word += char;
    } else if (char === '\\' && at + 1 < text.length) {
      const next = text[++at]!;
      word = (word ?? '') + (quote === '"' && !'"\\$`'.includes(next) ? char + next : next);
    } else if (quote === '"') {
      if (char === '"') quote = '';
      else word += char;
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= '';
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + char;
    }
  }
  if (quote !== '') return undefined;
  if (word !== undefined) words.push(word);
  return words;
}

/** Whether the command uses what only a shell understands: pipes, lists, redirections, variables, globs. */
export function needsShell(text: string): boolean {
  let quote = '';
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (quote === "'") {
      if (char === "'") quote = '';
    } else if (char === '\\') at++;
    else if (char === '$' || char === '`') return true;
    else if (quote === '"') {
      if (char === '"') quote = '';
    } else if (char === '"' || char === "'") quote = char;
    else if ('|&;<>()*?~#\n'.includes(char)) return true;
  }
  return false;
}
