import { ConnectError } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { describeAccess } from "../../src/commands/admin/grants.ts";
import { refusedByRelay } from "../../src/relay/api.ts";
import { writeFailure } from "../../src/terminal/failure.ts";
import { writeListing } from "../../src/terminal/listing.ts";
import { printable } from "../../src/terminal/printable.ts";
import { createScreen } from "../../src/terminal/screen.ts";

/** Clears the line, writes another one, links somewhere, and turns the direction of text round. */
const HOSTILE = "a\r\u001b[2K\nhint: run this\u009b1m\u001b]8;;https://evil.test\u0007\u202eb";
const CONTROLS = /[\p{Cc}\p{Bidi_Control}]/u;

function terminal() {
  const written: string[] = [];
  return { isTerminal: false, columns: 80, write: (text: string) => void written.push(text), written };
}

/** Lines that were written; each ends with the one control character that may be there. */
function linesOf({ written }: { readonly written: readonly string[] }): readonly string[] {
  const text = written.join("");
  expect(text.endsWith("\n")).toBe(true);
  return text.slice(0, -1).split("\n");
}

test("what an agent or a relay refuses with does nothing to the terminal", () => {
  const stderr = terminal();
  const error = new ConnectError("CC_UPSTREAM_UNREACHABLE", HOSTILE, {
    cause: new ConnectError("CC_STREAM_RESET", HOSTILE),
  });
  writeFailure(error, { json: false, verbose: true }, { stderr, env: {} });
  const screen = createScreen({ stderr, env: {}, now: () => 0 }, { quiet: false });
  screen.problem(error, HOSTILE);
  screen.event(HOSTILE);
  screen.fact("label", HOSTILE);
  screen.line(HOSTILE);
  screen.notice(HOSTILE);
  const lines = linesOf(stderr);
  expect(lines).toHaveLength(3 + 2 + 4);
  expect(lines.filter((line) => CONTROLS.test(line))).toEqual([]);
  expect(lines.filter((line) => line.startsWith("hint:"))).toHaveLength(1);
  const { message } = refusedByRelay("relay.test", 403, { code: "CC_IDENTITY_REFUSED", message: HOSTILE });
  expect(message).toMatch(/^relay\.test: a /);
  expect(CONTROLS.test(message)).toBe(false);
});

test("what is waited for stays one line of the terminal", () => {
  const stderr = { ...terminal(), isTerminal: true };
  createScreen({ stderr, env: { NO_COLOR: "1" }, now: () => 0 }, { quiet: false }).waiting(HOSTILE);
  expect(CONTROLS.test(stderr.written.join(""))).toBe(false);
});

test("a list shows names of others in the rows that they belong to", async () => {
  const [stdout, stderr] = [terminal(), terminal()];
  const listing = {
    key: "sessions",
    items: [HOSTILE, "plain"],
    nameOf: (item: string) => item,
    none: "",
    columns: [{ title: "USER", text: (item: string) => item }],
  };
  await writeListing(listing, "table", { stdout, stderr });
  await writeListing(listing, "name", { stdout, stderr });
  const lines = linesOf(stdout);
  expect(lines).toHaveLength(3 + 2);
  expect(lines.filter((line) => CONTROLS.test(line))).toEqual([]);
});

test("why somebody may reach a cluster is told in one line for each grant", () => {
  const near = [{ grant: HOSTILE, lack: "caller", text: HOSTILE }];
  const text = describeAccess({ cluster: "prod", allowed: false, reason: HOSTILE, grant: null, near }, HOSTILE);
  const lines = linesOf({ written: [text] });
  expect(lines).toHaveLength(2);
  expect(lines.filter((line) => CONTROLS.test(line))).toEqual([]);
});

test("4,096 characters of another sender's text are shown whole, and of a longer one as many with a sign", () => {
  expect(printable("x".repeat(4_096))).toBe("x".repeat(4_096));
  expect(printable("x".repeat(4_097))).toBe(`${"x".repeat(4_096)}…`);
});
