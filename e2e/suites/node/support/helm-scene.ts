import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import { NODE_IMAGE } from "../../../src/cluster/node/image.ts";
import type { RunResult } from "../../../src/process/run-to-end.ts";

type Run = (args: readonly string[]) => Promise<RunResult>;

/** A release from install to uninstall, helm waiting for its pods each time. */
export async function liveThroughRelease(
  folder: string,
  run: { readonly helm: Run; readonly kubectl: Run },
): Promise<void> {
  const chart = join(folder, "chart");
  await mkdir(join(chart, "templates"), { recursive: true });
  await writeFile(join(chart, "Chart.yaml"), "apiVersion: v2\nname: pods\nversion: 0.1.0\n");
  await writeFile(join(chart, "values.yaml"), "word: first\n");
  await writeFile(join(chart, "templates", "deployment.yaml"), deployment());
  const succeed = async (tool: Run, ...args: readonly string[]): Promise<string> => {
    const done = await tool(args);
    expect(done).toMatchObject({ code: 0 });
    return done.stdout;
  };
  const wait = ["--wait", "--timeout", "90s"];
  const shown = "jsonpath={.status.readyReplicas} {.metadata.labels.word}";
  const word = (): Promise<string> => succeed(run.kubectl, "get", "deployment", "charted", "-o", shown);
  await succeed(run.helm, "install", "release", chart, ...wait);
  expect(await word()).toBe("1 first");
  await succeed(run.helm, "upgrade", "release", chart, "--set", "word=second", ...wait);
  expect(await word()).toBe("1 second");
  await succeed(run.helm, "rollback", "release", "1", ...wait);
  expect(await word()).toBe("1 first");
  await succeed(run.helm, "uninstall", "release", ...wait);
  expect(await succeed(run.kubectl, "get", "deployment", "charted", "--ignore-not-found")).toBe("");
}

function deployment(): string {
  const labels = { app: "charted", word: "{{ .Values.word }}" };
  const spec = {
    terminationGracePeriodSeconds: 1,
    containers: [{ name: "main", image: NODE_IMAGE, imagePullPolicy: "Never" }],
  };
  return JSON.stringify({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "charted", labels },
    spec: { selector: { matchLabels: { app: "charted" } }, template: { metadata: { labels }, spec } },
  });
}
