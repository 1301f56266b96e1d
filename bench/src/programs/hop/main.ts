/** A relay or an agent of framing alone, for what the real ones cannot be told: to send without the hop window. */
import { readSettings } from "../settings.ts";
import { startAgent } from "./agent.ts";
import { startRelay } from "./relay.ts";
import type { HopSettings } from "./settings.ts";

const settings = readSettings<HopSettings>(process.argv);
switch (settings.role) {
  case "relay":
    process.send?.(await startRelay(settings));
    break;
  case "agent":
    process.send?.(await startAgent(settings).then(() => "open"));
    break;
}
