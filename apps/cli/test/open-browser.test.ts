import { expect, test } from "vitest";
import { openBrowser } from "../src/login/open-browser.ts";

test.each(["file:///etc/passwd", "ms-settings:", "javascript:alert(1)", "calc.exe", "--version", "httpx://a"])(
  "CVE-2025-6514: an issuer cannot have %s opened",
  async (address) => {
    expect(await openBrowser(address, "linux", { BROWSER: "/bin/true" })).toBe(false);
  },
);

test.each(["https://id.example.com/authorize?state=1", "http://127.0.0.1:8080/authorize"])(
  "%s is opened",
  async (address) => {
    expect(await openBrowser(address, "linux", { BROWSER: "/bin/true" })).toBe(true);
  },
);
