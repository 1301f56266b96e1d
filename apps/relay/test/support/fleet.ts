import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort, selfSigned, temporaryFolder } from "@cluster-connect/testkit";
import type { PeerSettings } from "../../src/peers/tls.ts";
import { type Fixture, type FixtureOptions, startFixture } from "./fixture.ts";

/** Certificate files that relays on 127.0.0.1 may share: it is its own authority. */
async function peerFiles(): Promise<Pick<PeerSettings, "certFile" | "keyFile" | "caFile">> {
  const folder = await temporaryFolder();
  const { cert, key } = await selfSigned();
  const [certFile, keyFile] = [join(folder, "tls.crt"), join(folder, "tls.key")];
  await writeFile(certFile, cert);
  await writeFile(keyFile, key);
  return { certFile, keyFile, caFile: certFile };
}

/** Settings of one relay among others. */
async function peerSettings(files: Awaited<ReturnType<typeof peerFiles>>): Promise<PeerSettings> {
  const port = await freePort();
  return { listen: { host: "127.0.0.1", port }, address: `127.0.0.1:${port}`, ...files };
}

/** Relays that share a store and know each other. */
export async function startFleet(count: number, options: FixtureOptions = {}): Promise<readonly Fixture[]> {
  const files = await peerFiles();
  const relays: Fixture[] = [];
  for (let index = 0; index < count; index += 1) {
    const [first] = relays;
    const config = { ...options.config, peers: await peerSettings(files) };
    relays.push(await startFixture({ ...options, config, ...(first === undefined ? {} : { beside: first }) }));
  }
  return relays;
}
