/**
 * A consistent read asks: am I still the leader, now? Proof is a majority that answered a heartbeat sent after the
 * question. Questions that come while heartbeats are on the way share the next ones.
 */
import { quorumOf } from './configuration.ts';

interface Question {
  readonly id: number;
  readonly number: number;
}

export class Verification {
  #asked = 0;
  #questions: Question[] = [];
  /** For each voter, the newest question that a heartbeat it answered was sent after. */
  readonly #answered = new Map<string, number>();

  /** Number of the newest question: what a heartbeat sent now answers. */
  get newest(): number {
    return this.#asked;
  }

  /** Whether `voter` should get a heartbeat for a question it has not answered yet. */
  wants(voter: string): boolean {
    return this.#questions.length > 0 && (this.#answered.get(voter) ?? 0) < this.#asked;
  }

  ask(id: number): void {
    this.#questions.push({ id, number: ++this.#asked });
  }

  /** `voter` answered a heartbeat that was sent when `number` was the newest question. */
  answer(voter: string, number: number): void {
    this.#answered.set(voter, Math.max(number, this.#answered.get(voter) ?? 0));
  }

  /**
   * Takes out the questions that a majority answered.
   * @param others ids of the other voters.
   */
  takeProven(others: readonly string[], selfVotes: boolean): readonly number[] {
    const voters = others.length + (selfVotes ? 1 : 0);
    const answers = others.map((id) => this.#answered.get(id) ?? 0);
    if (selfVotes) answers.push(this.#asked);
    const through = answers.toSorted((a, b) => b - a)[quorumOf(voters) - 1] ?? 0;
    const proven = this.#questions.filter(({ number }) => number <= through);
    this.#questions = this.#questions.filter(({ number }) => number > through);
    return proven.map(({ id }) => id);
  }

  /** Takes out all questions: leadership is lost. */
  takeAll(): readonly number[] {
    const all = this.#questions.map(({ id }) => id);
    this.#questions = [];
    return all;
  }
}
