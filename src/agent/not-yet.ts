/**
 * What a valid configuration may ask for and this version does not do. Silence would be worse than either: what would
 * be unsafe or lose data to leave out is refused, the rest is said once at the start.
 */
import type { Config } from '../config/index.ts';

/** The text with which the start is refused, or null. */
export function refusalOf(config: Config): string | null {
  if (!config.devMode) {
    return config.server.enabled
      ? "a durable server is not part of this version: its log is kept in memory only. Run one box with 'portolan agent -dev -data-dir=DIR' (registrations survive a restart, KV does not), or keep a Consul server."
      : "a client agent needs servers to join, and joining is not part of this version. Run one box with 'portolan agent -dev', or 'portolan registrator consul://HOST:8500' beside a Consul agent.";
  }
  return null;
}

/** One line for each setting without effect. */
export function warningsOf(config: Config): readonly string[] {
  const { join, log, gossip } = config;
  const joins = [...join.start, ...join.startWan, ...join.retry, ...join.retryWan];
  const without = (setting: string): string => `${setting} has no effect in this version`;
  return [
    ...(joins.length > 0 ? [without(`joining (${joins.join(', ')})`)] : []),
    ...(log.syslog ? [without('enable_syslog')] : []),
    ...(gossip.encrypt === '' ? [] : [without('encrypt')]),
  ];
}
