/** The {@link AppendFile} in memory. What was not synced can be lost on purpose, as a crash of the machine does. */
import type { AppendFile } from '../ports/index.ts';

export class MemoryAppendFile implements AppendFile {
  /** What a process sees that opens the file now. */
  text: string;
  #synced: string;

  constructor(text = '') {
    this.text = text;
    this.#synced = text;
  }

  async read(): Promise<string> {
    return this.text;
  }

  append(text: string): void {
    this.text += text;
  }

  replace(text: string): void {
    this.text = text;
    this.#synced = text;
  }

  async sync(): Promise<void> {
    this.#synced = this.text;
  }

  async close(): Promise<void> {
    this.#synced = this.text;
  }

  /** The machine goes down: only what was synced is still there. */
  crash(): void {
    this.text = this.#synced;
  }
}
