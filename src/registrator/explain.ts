/**
 * `portolan registrator explain`: for each container what is registered and why, what is not and what to set. The same
 * mapping as the registrator's own, so the explanation cannot disagree with the deed.
 */
import type { Decision, Skipped } from './facts.ts';

export interface Explanation {
  readonly engine: string;
  readonly containers: readonly ContainerExplanation[];
}

export interface ContainerExplanation {
  readonly id: string;
  readonly name: string;
  readonly image: string;
  /** `running`, `paused`, `exited`, … */
  readonly state: string;
  readonly services: readonly ServiceExplanation[];
  readonly skipped: readonly Skipped[];
  readonly notes: readonly string[];
}

export interface ServiceExplanation {
  readonly id: string;
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly tags: readonly string[];
  readonly containerPort: string;
  readonly decisions: readonly Decision[];
}

/** The explanation as text: a heading for each container, a table of decisions for each service. */
export function formatExplanation(explanation: Explanation): string {
  if (explanation.containers.length === 0) return `No containers on ${explanation.engine}.\n`;
  return explanation.containers.map(formatContainer).join('\n');
}

function formatContainer(container: ContainerExplanation): string {
  const lines = [`${container.name} (${container.id}, image ${container.image}, ${container.state})`];
  for (const service of container.services) {
    lines.push(`  port ${service.containerPort} -> service ${service.name}`);
    const rows = [['', 'VALUE', 'BECAUSE'], ...service.decisions.map((each) => [each.what, each.value, each.because])];
    lines.push(...table(rows).map((line) => `    ${line}`));
  }
  for (const { port, reason, hint } of container.skipped) {
    lines.push(
      `  ${port === '' ? 'not registered' : `port ${port} not registered`}: ${reason}`,
      `    to change it: ${hint}`,
    );
  }
  for (const note of container.notes) lines.push(`  note: ${note}`);
  return `${lines.join('\n')}\n`;
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}
