export { createDnsServer, type DnsAddress, type DnsServer, type DnsServerDependencies } from './dns-server.ts';
export { defaultDnsOptions, type DnsOptions, type SoaOptions } from './dns-options.ts';
