/** Version of this package; a test compares it with package.json. */
export const VERSION = "0.1.0";
/** Product and version, for HELLO and the User-Agent header. */
export const SOFTWARE: string = `cluster-connect-cli/${VERSION}`;
