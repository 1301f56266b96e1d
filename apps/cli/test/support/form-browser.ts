/** Does what a browser does with a page whose form submits itself: `form-browser.ts ADDRESS`. */
const page = await fetch(process.argv[2] ?? "");
const html = await page.text();
const fields = new URLSearchParams();
for (const [, name = "", value = ""] of html.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)">/g)) {
  fields.set(name, value);
}
const action = /action="([^"]*)"/.exec(html)?.[1] ?? "";
await (await fetch(action, { method: "POST", body: fields })).text();
