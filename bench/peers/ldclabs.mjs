// ldclabs/idempotent-proxy, its Worker as it is: it takes its targets from variables that paths name.

export { default, Cacher } from 'peer/src/idempotent-proxy-cf-worker/src/index.ts';
