export { freePort } from "./free-port.ts";
export { selfSigned } from "./self-signed.ts";
export { temporaryFolder } from "./temporary-folder.ts";
