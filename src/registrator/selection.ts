/**
 * Which containers are looked at at all (R29): name patterns, label selector, the agent's own container, and images
 * that only serve orchestration. Ports are chosen later (`ports.ts`).
 */
import type { ContainerInspect } from '../ports/index.ts';
import { containerName, labelsOf, matchesGlob, shortIdLength, type Skipped } from './facts.ts';
import type { Settings } from './options.ts';

/** Why the container is left out, or undefined. */
export function refuseContainer(inspect: ContainerInspect, settings: Settings): Skipped | undefined {
  const skip = (reason: string, hint: string): Skipped => ({ port: '', reason, hint });
  if (settings.ownContainerIds.some((own) => own.length >= shortIdLength && inspect.Id.startsWith(own))) {
    return skip('this is the container the agent itself runs in', 'nothing to set: the agent registers itself');
  }
  const name = containerName(inspect);
  const excluded = settings.exclude.find((pattern) => matchesGlob(pattern, name));
  if (excluded !== undefined) return skip(`name matches the exclude pattern "${excluded}"`, 'change the exclude list');
  if (settings.include.length > 0 && !settings.include.some((pattern) => matchesGlob(pattern, name))) {
    return skip(`name matches none of the include patterns ${settings.include.join(', ')}`, 'extend the include list');
  }
  const image = imagePath(inspect.Config?.Image ?? '');
  const imagePattern = settings.excludeImages.find((pattern) => matchesGlob(pattern, image));
  if (imagePattern !== undefined) {
    return skip(`image ${image} serves orchestration ("${imagePattern}")`, 'change the list of excluded images');
  }
  const labels = labelsOf(inspect);
  const failed = settings.labelSelector.find((term) => !selects(term, labels));
  if (failed !== undefined) return skip(`the label selector "${failed}" does not hold`, `set the label ${failed}`);
  return undefined;
}

function selects(term: string, labels: Readonly<Record<string, string>>): boolean {
  if (term.startsWith('!')) return !Object.hasOwn(labels, term.slice(1));
  const at = term.indexOf('=');
  if (at < 0) return Object.hasOwn(labels, term);
  return Object.hasOwn(labels, term.slice(0, at)) && labels[term.slice(0, at)] === term.slice(at + 1);
}

/** Image reference without digest and tag. */
function imagePath(image: string): string {
  return image.replace(/@.*$/, '').replace(/:[^/:]*$/, '');
}
