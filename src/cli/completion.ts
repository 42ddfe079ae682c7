/**
 * Completion for shells: one static script each, made from the table of commands, so that pressing TAB starts no
 * program. A script walks over the words typed so far as far as they name commands, and offers what may follow.
 */
import type { Command } from './command.ts';

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

/** What may follow a command or group ("" = the program itself). */
export interface CompletionNode {
  readonly name: string;
  /** The next words, with what they do. */
  readonly words: readonly (readonly [word: string, summary: string])[];
  readonly flags: Command['flags'];
}

/** The script for a shell to read. */
export function completionScript(shell: Shell, nodes: readonly CompletionNode[]): string {
  return { bash, zsh, fish }[shell](nodes);
}

const walk = (current: string, position: string, first: number): string => `  local node= next i
  for ((i = ${first}; i < ${position}; i++)); do
    next="\${node:+$node }\${${current}[i]}"
    _portolan_node "$next" || break
    node=$next
  done
  _portolan_node "$node"`;

function bash(nodes: readonly CompletionNode[]): string {
  const cases = nodes.map(({ name, words, flags }) => {
    const follow = [...words.map(([word]) => word), ...flags.map((flag) => `-${flag.name}`)];
    return `    ${quote(name)}) _portolan_words=${quote(follow.join(' '))} ;;`;
  });
  return `# bash completion for portolan: source this file.
_portolan_node() {
  case $1 in
${cases.join('\n')}
    *) return 1 ;;
  esac
}
_portolan() {
  local _portolan_words=
${walk('COMP_WORDS', 'COMP_CWORD', 1)}
  COMPREPLY=($(compgen -W "$_portolan_words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _portolan portolan
`;
}

function zsh(nodes: readonly CompletionNode[]): string {
  const item = (word: string, summary: string): string => quote(`${word.replaceAll(':', '\\:')}:${summary}`);
  const cases = nodes.map(({ name, words, flags }) => {
    const items = [
      ...words.map(([word, summary]) => item(word, summary)),
      ...flags.map((flag) => item(`-${flag.name}`, firstSentence(flag.help))),
    ];
    return `    ${quote(name)}) _portolan_items=(${items.join(' ')}) ;;`;
  });
  return `#compdef portolan
# zsh completion for portolan: source this file after compinit, or put it into a folder of $fpath as _portolan.
_portolan_node() {
  case $1 in
${cases.join('\n')}
    *) return 1 ;;
  esac
}
_portolan() {
  local -a _portolan_items
${walk('words', 'CURRENT', 2)}
  _describe -o portolan _portolan_items
  _files
}
compdef _portolan portolan
`;
}

function fish(nodes: readonly CompletionNode[]): string {
  const lines = nodes.flatMap(({ name, words, flags }) => {
    const at = `complete -c portolan -n ${quote(`test (__portolan_node) = ${quote(name)}`)}`;
    return [
      ...words.map(([word, summary]) => `${at} -a ${quote(word)} -d ${quote(summary)}`),
      ...flags.map((flag) => `${at} -o ${quote(flag.name)} -d ${quote(firstSentence(flag.help))}`),
    ];
  });
  return `# fish completion for portolan: source this file, or put it into ~/.config/fish/completions.
function __portolan_node
  set -l node ''
  for word in (commandline -opc)[2..]
    set -l next (string trim -- "$node $word")
    contains -- $next ${nodes
      .filter(({ name }) => name !== '')
      .map(({ name }) => quote(name))
      .join(' ')}
    or break
    set node $next
  end
  echo "$node"
end
${lines.join('\n')}
`;
}

function firstSentence(text: string): string {
  return /^.*?[.](?= |$)/.exec(text)?.[0].slice(0, -1) ?? text;
}

/** As one word for a shell. fish, too, takes a quote out of single quotes like this. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
