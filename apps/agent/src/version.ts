import { readSoftware } from "@cluster-connect/service";

/** Product and version, for HELLO, logs and `--version`. */
export const SOFTWARE: string = readSoftware("cluster-connect-agent", new URL("../package.json", import.meta.url));
