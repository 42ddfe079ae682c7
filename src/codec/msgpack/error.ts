/** Bytes that are no msgpack of the expected form; says where in the record, e.g. `Service.Port: …`. */
export class MsgpackError extends Error {
  readonly #problem: string;
  #path = '';

  constructor(problem: string) {
    super(`msgpack decode error: ${problem}`);
    this.name = 'MsgpackError';
    this.#problem = problem;
  }

  /** The same error seen from the record around: `step` is the field or the position it was met in. */
  within(step: string): this {
    this.#path = this.#path === '' ? step : `${step}.${this.#path}`;
    this.message = `msgpack decode error: ${this.#path}: ${this.#problem}`;
    return this;
  }
}

/** The bytes end inside a value: on a stream the rest may still come, anywhere else the input is broken. */
export class MsgpackTruncated extends MsgpackError {
  constructor() {
    super('the bytes end in the middle of a value');
    this.name = 'MsgpackTruncated';
  }
}
