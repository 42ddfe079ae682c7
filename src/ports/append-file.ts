/** A text file that grows at its end and is now and then written anew: a journal that a restarted process reads. */
export interface AppendFile {
  /** The whole text; "" when there is no file. Call it before the first write. */
  read(): Promise<string>;
  /** Queues text for the end of the file and returns at once; what is queued is written in order. */
  append(text: string): void;
  /** Queues a new content for the file, in one step: a crash leaves the old or the new one. */
  replace(text: string): void;
  /**
   * Waits until everything queued is on the disk.
   * @throws the system's error, if a write has failed since the last call.
   */
  sync(): Promise<void>;
  /** {@link sync}, then gives the file back; nothing may follow. */
  close(): Promise<void>;
}
