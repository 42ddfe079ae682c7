/**
 * The few files the agent keeps for itself (registrations, node id, TTL states). Paths are relative to the data
 * directory, with `/` between parts.
 */
export interface FileStore {
  /** The file's text, or undefined when there is none. */
  read(path: string): Promise<string | undefined>;
  /**
   * Replaces the file in one step: a crash or a failure leaves the old or the new text, never a mixture. With `sync` the new text
   * is on the disk when the promise resolves. Parent directories are made (mode 0700), the file has mode 0600.
   */
  write(path: string, text: string, options: { readonly sync: boolean }): Promise<void>;
  /** Removes the file; a missing one is fine. */
  remove(path: string): Promise<void>;
  /** Names of the files in a directory, sorted; none when it does not exist. */
  list(directory: string): Promise<readonly string[]>;
}
