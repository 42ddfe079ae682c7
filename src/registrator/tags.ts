/**
 * Tag lists (reference/registrator.md §5.3): commas separate, `\,` is a comma, empty elements vanish. Tags keep the
 * order they were written in; each tag once.
 */
export function splitTags(text: string): string[] {
  const tags: string[] = [];
  let tag = '';
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '\\' && text[at + 1] === ',') {
      tag += ',';
      at++;
    } else if (text[at] === ',') {
      tags.push(tag);
      tag = '';
    } else {
      tag += text[at];
    }
  }
  tags.push(tag);
  return tags.filter((each) => each !== '');
}

export function unique(tags: readonly string[]): string[] {
  return [...new Set(tags)];
}
