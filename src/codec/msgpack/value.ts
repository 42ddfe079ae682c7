/**
 * Values without a schema, as in a proxy's `Config`. The peer keeps integers and floats apart there and compares them
 * as different: here a bigint is an integer on the wire and a number is a float64, which numbers from JSON are
 * (reference/server-rpc.md §2.4).
 */
import { isUtf8 } from 'node:buffer';
import { MsgpackError } from './error.ts';
import { MsgpackReader } from './reader.ts';
import { MsgpackWriter } from './writer.ts';

/** Bytes stand only for what is no UTF-8 text. */
export type MsgpackValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly MsgpackValue[]
  | { readonly [key: string]: MsgpackValue };

/** Far deeper than any configuration, far less than the stack holds. */
const depthMax = 100;

/** @throws MsgpackError when `value` holds something that has no form on the wire, or is nested too deep. */
export function writeValue(writer: MsgpackWriter, value: unknown, depth = 0): void {
  if (depth > depthMax) throw new MsgpackError(`values nested more than ${depthMax} deep`);
  if (value === null || value === undefined) writer.nil();
  else if (typeof value === 'string') writer.str(value);
  else if (typeof value === 'number') writer.float64(value);
  else if (typeof value === 'bigint') writer.int(value);
  else if (typeof value === 'boolean') writer.bool(value);
  else if (value instanceof Uint8Array) writer.raw(value);
  else if (Array.isArray(value)) {
    writer.arrayHeader(value.length);
    for (const item of value) writeValue(writer, item, depth + 1);
  } else if (typeof value === 'object') {
    const entries = Object.entries(value);
    writer.mapHeader(entries.length);
    for (const [key, item] of entries) {
      writer.str(key);
      writeValue(writer, item, depth + 1);
    }
  } else throw new MsgpackError(`a ${typeof value} has no form on the wire`);
}

/** @throws MsgpackError */
export function readValue(reader: MsgpackReader, depth = 0): MsgpackValue {
  if (depth > depthMax) throw new MsgpackError(`values nested more than ${depthMax} deep`);
  switch (reader.peekType()) {
    case 'nil':
      reader.nil();
      return null;
    case 'bool':
      return reader.bool();
    case 'int':
      return reader.bigInt();
    case 'float':
      return reader.float();
    case 'raw': {
      const bytes = reader.raw() ?? new Uint8Array();
      return isUtf8(bytes)
        ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')
        : new Uint8Array(bytes);
    }
    case 'bin':
      return new Uint8Array(reader.raw() ?? []);
    case 'array': {
      const items: MsgpackValue[] = [];
      for (let rest = reader.arrayHeader() ?? 0; rest > 0; rest--) items.push(readValue(reader, depth + 1));
      return items;
    }
    case 'map': {
      const fields: Record<string, MsgpackValue> = {};
      for (let rest = reader.mapHeader() ?? 0; rest > 0; rest--) {
        const key = reader.str();
        setOwn(fields, key, readValue(reader, depth + 1));
      }
      return fields;
    }
  }
}

/** Sets a key that came from outside: `__proto__` must become a key like any other. */
export function setOwn<T>(target: Record<string, T>, key: string, value: T): void {
  if (key !== '__proto__') target[key] = value;
  else Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
}

/** Writes one value without a schema; see {@link MsgpackValue} for what becomes what. */
export function encodeMsgpack(value: MsgpackValue): Uint8Array {
  const writer = new MsgpackWriter();
  writeValue(writer, value);
  return writer.bytes();
}

/** Reads one value without a schema. What follows it is not looked at. @throws MsgpackError */
export function decodeMsgpack(bytes: Uint8Array): MsgpackValue {
  return readValue(new MsgpackReader(bytes));
}
