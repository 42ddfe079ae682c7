export { blake2b256 } from './blake2b.ts';
export { derOid, DerError, readDer } from './der.ts';
export {
  certificateSubject,
  decodePem,
  encodePem,
  makeCertificate,
  makeCertificateRequest,
  readCertificateRequest,
  x509KeyId,
} from './x509.ts';
export { compileFilter, type Filter, FilterError, type FilterField, type FilterFields } from './filter/index.ts';
export { decodeGoBase64 } from './go-base64.ts';
export {
  formatGoDuration,
  formatGoDurationMs,
  GoDurationError,
  parseGoDuration,
  parseGoDurationMs,
} from './go-duration.ts';
export { encodeGoJson, encodeGoJsonString, GoJsonError, type GoJsonLayout, parseGoJson } from './go-json.ts';
export {
  compileGoRegexp,
  compileGoSubmatch,
  type GoRegexpBudget,
  GoRegexpBudgetError,
  GoRegexpError,
} from './go-regexp.ts';
export { decodeLzw, encodeLzw, LzwError } from './lzw.ts';
export { compileHil, HilError, type HilScope } from './hil.ts';
export { decodeUserEvent, encodeUserEvent, UserEventError, type UserEventFields } from './user-event.ts';
export { HclError, type HclObject, type HclValue, parseHcl } from './hcl.ts';
export * from './msgpack/index.ts';
export { TarError, type TarEvents, type TarFile, tarEnd, tarHeader, tarPadding, TarReader, writeTar } from './tar.ts';
