/** TLS of HTTP and gRPC checks. */
export interface CheckTls {
  /** The agent's own CA and certificate, given only with `enable_agent_tls_for_checks`; else the system's roots. */
  readonly ca?: string | Buffer | (string | Buffer)[];
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
}
