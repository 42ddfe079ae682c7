/** What this build is; the bundler fills the two constants in (.ci/build.mjs), sources run by Node have none. */
declare const PORTOLAN_VERSION: string | undefined;
declare const PORTOLAN_REVISION: string | undefined;

export const portolanVersion: string = typeof PORTOLAN_VERSION === 'string' ? PORTOLAN_VERSION : '0.0.0-source';
export const portolanRevision: string = typeof PORTOLAN_REVISION === 'string' ? PORTOLAN_REVISION : '';
