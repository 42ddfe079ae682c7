// Recorded command lines of a server with ACLs and default deny, in the order in which they were recorded.
const words = (text: string): string[] => text.trim().split(/\s+/);

export const replayedWithAcls: readonly string[] = words(`
  info-acl-denied kv-get-acl-denied kv-put-acl-denied members-acl-denied
  acl-bootstrap acl-bootstrap-again
  acl-policy-create acl-policy-create-dup acl-policy-create-badrules acl-policy-read acl-policy-read-meta-json
  acl-policy-read-missing acl-policy-list
  acl-token-create acl-token-create-json acl-token-create-expiring
  acl-token-list acl-token-read acl-token-read-prefix acl-token-read-missing acl-token-read-self acl-token-clone
  acl-token-update acl-token-delete acl-policy-update
  acl-role-create acl-role-read acl-role-list acl-role-delete
  acl-policy-delete acl-policy-delete-missing
  acl-auth-method-list acl-binding-rule-list acl-translate-rules acl-set-agent-token
  members-token-file login-bad logout-none debug-noarchive`);

/** Replayed by a test of its own. */
export const coordinateCapture = 'rtt';

export const aclCaptures: readonly string[] = [...replayedWithAcls, coordinateCapture];
