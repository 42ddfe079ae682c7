// Recorded command lines that are about the members of a pool: a server srv-1 and the clients cli-1 and cli-2, at
// 127.0.0.1 to 127.0.0.3. In the order of the recordings.
const words = (text: string): string[] => text.trim().split(/\s+/);

/** With all three there. */
export const together = words(`
  join join-bad join-mixed join-several join-wan members-env members-http-addr members-wan members-wan-on-client
  services-register-client keyring-on-client`);

/** The order of the keys in force. */
export const keyChanges = words(`
  keyring-list keyring-install-bad keyring-install keyring-list-two keyring-use keyring-list-primary
  keyring-remove-primary keyring-use-back keyring-remove keyring-list`);

/** Compared by what is fixed in them. */
export const roughly = words(`info-client exec-multi`);

/** After cli-2 was killed: until which state of whom to wait, then what is typed. */
export const failing = words(`
  members-failed force-leave members-after-force-leave force-leave-prune members-after-prune`);
/** After cli-1, alive, was called gone; and after it left. */
export const leaving = words(`force-leave-alive members-after-force-leave-alive members-after-leave`);

export const poolCaptures: readonly string[] = [
  ...new Set([...together, ...keyChanges, ...roughly, ...failing, ...leaving]),
];
