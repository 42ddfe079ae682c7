/** `tls_min_version` as Node calls it. */
export const nodeTlsVersions = { tls10: 'TLSv1', tls11: 'TLSv1.1', tls12: 'TLSv1.2', tls13: 'TLSv1.3' } as const;

/**
 * The registered name of a TLS cipher suite as OpenSSL calls it: `TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256` is its
 * `ECDHE-RSA-AES128-SHA256`. Suites of TLS 1.3 have one name only and stay.
 */
export function opensslCipherSuite(name: string): string {
  const [, exchange, cipher] = /^TLS_(\w+)_WITH_(\w+)$/.exec(name) ?? [];
  if (exchange === undefined || cipher === undefined) return name;
  const words = cipher
    .replace('3DES_EDE_CBC', 'DES_CBC3')
    .replace(/AES_(\d+)_(?:CBC_)?/, 'AES$1_')
    .replace('RC4_128', 'RC4');
  return (exchange === 'RSA' ? words : `${exchange}_${words}`).replaceAll('_', '-');
}
