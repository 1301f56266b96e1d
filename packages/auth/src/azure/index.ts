export type { EntraAccount, EntraClient, EntraMachine, EntraToken } from "./entra-client.ts";
export { getEntraMachineToken } from "./entra-machine.ts";
export type { EntraDeviceCode, EntraSignIn, SignedInAtEntra } from "./entra-person.ts";
export { renewEntraPerson, signInAtEntra } from "./entra-person.ts";
export type { EntraDeps } from "./entra-traffic.ts";
