/** How a child process ended. */
export interface ProcessResult {
  /** Exit code; null when a signal ended it or it never started. */
  readonly exitCode: number | null;
  /** Signal name when one ended it. */
  readonly signal: string | null;
  /** stdout and stderr interleaved as written, the last `outputBytesMax` bytes. */
  readonly output: Uint8Array;
  /** All bytes the process wrote, including those cut. */
  readonly outputBytesTotal: number;
  readonly timedOut: boolean;
  /** Why it could not start, in the form `fork/exec PATH: no such file or directory`. */
  readonly startError?: string;
}

/** Runs programs of the host (script checks, watch handlers, remote execution). */
export interface ProcessRunner {
  /**
   * Runs `argv` without a shell, in its own process group, with `input` or nothing on stdin. At `timeoutMs` the whole
   * group gets SIGKILL.
   * `onTimeout` is called at that moment; the promise settles when the process is gone.
   */
  run(
    argv: readonly string[],
    options: {
      readonly timeoutMs: number;
      readonly outputBytesMax: number;
      readonly env?: Readonly<Record<string, string>>;
      readonly input?: Uint8Array;
      /** Gets the output as it is written, stdout and stderr alike. */
      readonly onOutput?: (chunk: Uint8Array) => void;
      readonly onTimeout?: (outputSoFar: Uint8Array) => void;
      readonly signal?: AbortSignal;
    },
  ): Promise<ProcessResult>;
}
