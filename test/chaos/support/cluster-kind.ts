/** Which clusters a suite runs on: Portolan's, unless PORTOLAN_PEERS names others (`consul`, or `consul,portolan`). */
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import type { Kind } from '../../helpers/cluster.ts';
import { namespacesSkipReason } from '../../helpers/namespaces.ts';

export interface ClusterNeeds {
  /** The real Consul. */
  readonly consul: string;
}

export function wantedKinds(standard: readonly Kind[] = ['portolan']): readonly Kind[] {
  const wanted = process.env['PORTOLAN_PEERS'];
  if (wanted === undefined || wanted === '') return standard;
  return wanted.split(',').map((kind) => {
    if (kind !== 'consul' && kind !== 'portolan')
      throw new Error(`PORTOLAN_PEERS=${kind}: expected consul or portolan`);
    return kind;
  });
}

/** What clusters need; when it is missing, one line says so and the suite is skipped, or fails in CI. */
export function clusterNeeds(suite: string): ClusterNeeds | undefined {
  const reason = namespacesSkipReason();
  let consul = '';
  if (reason === undefined) {
    try {
      const script = resolve(import.meta.dirname, '../../bench/support/peer.sh');
      consul = execFileSync('sh', [script], { stdio: ['ignore', 'pipe', 'inherit'] })
        .toString()
        .trim();
    } catch {
      // The script has said why.
    }
  }
  if (consul !== '') return { consul };
  const line = `${suite}: ${reason ?? 'needs Consul 1.8.7 (test/bench/support/peer.sh)'}`;
  if (process.env['CI'] === 'true') throw new Error(line);
  console.log(`${line} (skipped)`);
  return undefined;
}
