/**
 * The few things a log and a snapshot need of a disk, with what a crash leaves behind spelled out: whatever was not
 * synced may be there, in part, or not at all. Paths are relative to one directory, with `/` between parts.
 */

export interface DiskFile {
  /** Bytes in the file. */
  size(): Promise<number>;
  /** At most `length` bytes from `position`; fewer at the end of the file. */
  read(position: number, length: number): Promise<Uint8Array>;
  /** Writes all of `bytes`. In a file opened `durable` they are on the disk when this resolves. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** Cuts the file; on the disk after `sync`. */
  truncate(length: number): Promise<void>;
  /** Everything written so far, and the length, is on the disk when this resolves. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface Disk {
  /**
   * Opens a file for reading and writing.
   * @param options.create makes it when it is missing; its name is on the disk after `syncDirectory`.
   * @param options.durable every write waits until it is on the disk: one call to the system instead of two.
   * @throws Error with code ENOENT when it is missing and `create` is false.
   */
  open(path: string, options: { readonly create: boolean; readonly durable?: boolean }): Promise<DiskFile>;
  /** Names in a directory, sorted; none when it does not exist. */
  list(directory: string): Promise<readonly string[]>;
  /** Makes a directory and its parents; fine when it exists. */
  makeDirectory(path: string): Promise<void>;
  /** Renames a file or directory in one step, replacing a file. On the disk after `syncDirectory` of its parent. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file, or a directory with all in it; a missing one is fine. */
  remove(path: string): Promise<void>;
  /** Names made, renamed or removed in the directory so far are on the disk when this resolves. */
  syncDirectory(path: string): Promise<void>;
}
