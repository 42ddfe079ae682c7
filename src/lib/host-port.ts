/** `host:port`, with an IPv6 host in brackets (RFC 3986 §3.2.2). */
export function hostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The parts of a {@link hostPort}, brackets taken off; undefined when the text is none. */
export function splitHostPort(text: string): { readonly host: string; readonly port: number } | undefined {
  const colon = text.lastIndexOf(':');
  const host = text.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  const port = Number(text.slice(colon + 1));
  return host === '' || !Number.isInteger(port) ? undefined : { host, port };
}
