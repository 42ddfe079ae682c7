/** What every type of check that runs by itself has in common. */
import type { CheckStatus } from '../model/index.ts';

export interface CheckResult {
  readonly status: CheckStatus;
  readonly output: string;
  /** Counts at once, whatever the thresholds say (script timeouts and start failures, reference/agent.md §4.3). */
  readonly atOnce?: boolean;
}

export interface CheckRunner {
  /**
   * Looks once. `report` is called once; it may be called before the promise settles, which is when nothing of the run
   * is left and the interval begins. Never rejects but when `signal` aborts.
   */
  run(report: (result: CheckResult) => void, signal: AbortSignal): Promise<void>;
}

/** Exit codes of programs: 0 passing, 1 warning, all else critical. */
export function statusOfExitCode(exitCode: number | null): CheckStatus {
  if (exitCode === 0) return 'passing';
  return exitCode === 1 ? 'warning' : 'critical';
}
