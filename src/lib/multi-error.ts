/** Several problems in one text, laid out as Consul does it (reference/http-api.md §7). */
export function multiErrorText(problems: readonly string[]): string {
  const head = problems.length === 1 ? '1 error occurred:' : `${problems.length} errors occurred:`;
  return `${head}\n${problems.map((problem) => `\t* ${problem}\n`).join('')}\n`;
}
