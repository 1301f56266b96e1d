export type { SignOptions, TestIssuer, TestIssuerOptions } from "./issuer.ts";
export { startTestIssuer } from "./issuer.ts";
