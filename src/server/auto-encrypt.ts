/** What clients are told that ask for their first certificate (reference/server-rpc.md §1.8). */
export interface AutoEncryptSettings {
  /** PEM of the authorities that were configured by hand. */
  readonly manualCaRoots: readonly string[];
  readonly gossipKey: string;
  readonly verifyServerHostname: boolean;
}
