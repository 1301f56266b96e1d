export type { FakeEntra, FakeEntraOptions } from "./fake-entra.ts";
export { startFakeEntra } from "./fake-entra.ts";
export type { FakeEntraApp } from "./fake-entra-grants.ts";
export type { SignOptions, TestIssuer, TestIssuerOptions } from "./issuer.ts";
export { startTestIssuer } from "./issuer.ts";
