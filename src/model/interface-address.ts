/**
 * One address of one network interface of this host, as the agent sees it. Address templates of the configuration
 * (`GetInterfaceIP`, reference/agent.md §2.5) and the advertise decision (reference/container-environments.md §9) read
 * the same list, so that what a person configures and what the agent works out can be compared.
 */
export interface InterfaceAddress {
  /** The interface's name: `eth0`, `ens5`, `lo`. */
  readonly name: string;
  /** Textual address without prefix length or zone. */
  readonly address: string;
  /** Length of the network part in bits, 0-32 or 0-128. */
  readonly prefixLength: number;
  readonly family: 4 | 6;
  readonly up: boolean;
  readonly loopback: boolean;
}
