export {
  formatGoDuration,
  formatGoDurationMs,
  GoDurationError,
  parseGoDuration,
  parseGoDurationMs,
} from './go-duration.ts';
