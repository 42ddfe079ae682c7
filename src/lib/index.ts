export { type ByteString, byteStringFromUtf8, byteStringToUtf8 } from './byte-string.ts';
export { goQuote } from './go-quote.ts';
export { Heap } from './heap.ts';
export { invariant, unreachable } from './invariant.ts';
export { multiErrorText } from './multi-error.ts';
export { TailBuffer } from './tail-buffer.ts';
export { hostPort } from './host-port.ts';
