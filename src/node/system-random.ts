/** Real chance. UUIDs and bytes come from the system's generator, because IDs and keys are made of them. */
import { randomBytes, randomUUID } from 'node:crypto';
import type { Random } from '../ports/index.ts';

export class SystemRandom implements Random {
  /** For jitter and choice only, never for secrets. */
  next(): number {
    return Math.random();
  }

  uuid(): string {
    return randomUUID();
  }

  bytes(length: number): Uint8Array {
    return randomBytes(length);
  }
}
