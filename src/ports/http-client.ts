/** Asking another web server for something. */

/**
 * Makes one request on a connection of its own; redirects are answers like others. Rejects with the system's error,
 * which has a `code`, or the abort's reason.
 */
export type HttpClient = (request: {
  readonly method: 'GET' | 'PUT' | 'POST';
  /** With scheme `http` or `https`. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** PEM of the authorities that the server's certificate must come from; the system's when not given. */
  readonly ca?: string;
  readonly signal: AbortSignal;
}) => Promise<{
  readonly status: number;
  /** What the server calls the status. */
  readonly statusText: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
}>;
