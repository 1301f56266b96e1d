import { ConnectError } from "@cluster-connect/protocol";
import { readSettingFile } from "@cluster-connect/service";

/**
 * Reads the secret with which messages are signed.
 *
 * @param setting its name, for the message.
 * @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE`; `CC_CONFIG_INVALID` for an empty one.
 */
export async function readSigningSecret(setting: string, file: string): Promise<string> {
  const secret = (await readSettingFile(setting, file)).trim();
  if (secret !== "") return secret;
  throw new ConnectError("CC_CONFIG_INVALID", `${setting}: the secret in ${file} is empty`, {
    hint: `Write one with \`openssl rand -hex 32 > ${file}\`.`,
  });
}
