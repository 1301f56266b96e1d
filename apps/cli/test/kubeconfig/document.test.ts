import { parseClusterId } from "@cluster-connect/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { parseKubeconfig } from "../../src/kubeconfig/document.ts";
import { entryName, type KubeconfigEntry } from "../../src/kubeconfig/entry.ts";

const RELAY = new URL("https://relay.test");

function entry(cluster: string, context: string = cluster): KubeconfigEntry {
  return {
    name: entryName(RELAY, parseClusterId(cluster)),
    context,
    port: 47_011,
    serverName: `${cluster}.clusters.cluster-connect.internal`,
    authorities: "authority\n",
    credential: { command: "/usr/bin/cluster-connect", args: ["credential", "--relay", "https://relay.test"] },
  };
}

const KUBECTL_STYLE = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: QUJD
    server: https://10.0.0.1:6443
  name: office
contexts:
- context:
    cluster: office
    namespace: web # the shop
    user: jane
  name: office
current-context: office
kind: Config
preferences: {}
users:
- name: jane
  user:
    token: secret
`;

test("an entry is exactly as kubectl needs it", () => {
  const document = parseKubeconfig("", "config");
  document.add([entry("prod")]);
  expect(parse(document.toString())).toEqual({
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name: "cluster-connect/relay.test/prod",
        cluster: {
          server: "https://127.0.0.1:47011",
          "tls-server-name": "prod.clusters.cluster-connect.internal",
          "certificate-authority-data": Buffer.from("authority\n").toString("base64"),
        },
      },
    ],
    users: [
      {
        name: "cluster-connect/relay.test/prod",
        user: {
          exec: {
            apiVersion: "client.authentication.k8s.io/v1",
            command: "/usr/bin/cluster-connect",
            args: ["credential", "--relay", "https://relay.test"],
            interactiveMode: "IfAvailable",
            provideClusterInfo: false,
          },
        },
      },
    ],
    contexts: [
      {
        name: "prod",
        context: { cluster: "cluster-connect/relay.test/prod", user: "cluster-connect/relay.test/prod" },
      },
    ],
    "current-context": "prod",
  });
});

test("adding and removing leaves a file that kubectl wrote as it was, byte for byte", () => {
  const before = parseKubeconfig(KUBECTL_STYLE, "config");
  const former = before.currentContext;
  before.add([entry("prod"), entry("test")]);
  const after = parseKubeconfig(before.toString(), "config");
  expect(after.currentContext).toBe("prod");
  after.remove([entry("prod").name, entry("test").name], former);
  expect(after.toString()).toBe(KUBECTL_STYLE);
});

test("comments, unknown fields and anchors of others stay", () => {
  const text = `# mine
x-team: &team { name: shop }
clusters: # two
  - name: a # first
    cluster: { server: https://a, x-owner: *team }
contexts: []
users:
`;
  const document = parseKubeconfig(text, "config");
  document.add([entry("prod")]);
  const changed = document.toString();
  for (const part of ["# mine", "&team", "*team", "# two", "# first"]) expect(changed).toContain(part);
  const after = parseKubeconfig(changed, "config");
  after.remove([entry("prod").name], undefined);
  expect(parse(after.toString())).toEqual({ ...parse(text), contexts: [], users: [] });
});

test("a file in JSON stays JSON", () => {
  const document = parseKubeconfig(JSON.stringify(parse(KUBECTL_STYLE)), "config");
  document.add([entry("prod")]);
  expect(JSON.parse(document.toString())["current-context"]).toBe("prod");
});

test("adding twice replaces, and a namespace set with kubectl stays", () => {
  const document = parseKubeconfig("", "config");
  document.add([entry("prod")]);
  const text = document.toString().replace("  context:\n", "  context:\n    namespace: shop\n");
  const again = parseKubeconfig(text, "config");
  again.add([{ ...entry("prod"), port: 1 }]);
  const value = parse(again.toString());
  expect(value.clusters).toHaveLength(1);
  expect(value.contexts).toHaveLength(1);
  expect(value.contexts[0].context.namespace).toBe("shop");
  expect(value.clusters[0].cluster.server).toBe("https://127.0.0.1:1");
});

test("another tool's context of the same name is not replaced", () => {
  const document = parseKubeconfig(KUBECTL_STYLE, "config");
  expect(() => document.add([entry("prod", "office")])).toThrow(
    expect.objectContaining({
      code: "CC_KUBECONFIG_INVALID",
      message: "config has a context office that was not made by cluster-connect",
    }),
  );
});

test("the current context is left alone when it is no longer ours", () => {
  const document = parseKubeconfig(KUBECTL_STYLE, "config");
  document.add([entry("prod")]);
  const chosen = parseKubeconfig(
    document.toString().replace("current-context: prod", "current-context: office"),
    "config",
  );
  chosen.remove([entry("prod").name], "somebody");
  expect(chosen.currentContext).toBe("office");
});

test("a former context that is gone is not made current", () => {
  const document = parseKubeconfig(KUBECTL_STYLE, "config");
  document.add([entry("prod")]);
  document.remove([entry("prod").name], "gone");
  expect(document.currentContext).toBe("");
});

test("whatever else is in the lists, only our own entries are touched", () => {
  const word = fc.stringMatching(/^[a-z][a-z0-9/.-]{0,12}$/);
  const value = fc.dictionary(word, fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null)), {
    maxKeys: 4,
  });
  const list = (kind: string): fc.Arbitrary<readonly unknown[]> =>
    fc.array(
      fc.tuple(word, value).map(([name, inner]) => ({ name: `other-${name}`, [kind]: inner })),
      { maxLength: 4 },
    );
  const config = fc.record({ clusters: list("cluster"), users: list("user"), contexts: list("context"), extra: value });
  fc.assert(
    fc.property(config, (original) => {
      const document = parseKubeconfig(stringify(original), "config");
      document.add([entry("prod")]);
      const changed = parseKubeconfig(document.toString(), "config");
      changed.remove([entry("prod").name], undefined);
      expect(parse(changed.toString(), { schema: "failsafe" })).toEqual(
        parse(stringify(original), { schema: "failsafe" }),
      );
    }),
  );
});

test("what is no kubeconfig is refused with the place that is wrong", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["clusters: [", "config is no kubeconfig: line 1 is not YAML (bad indent)"],
    ["a: 1\n  b: 2\n", "config is no kubeconfig: line 1 is not YAML (block as implicit key)"],
    ["a:\n\t- b\n", "config is no kubeconfig: line 2 is not YAML (tab as indent)"],
    ["- 1\n", "config is no kubeconfig: it is not a map"],
    ["kind: Pod\n", "config is no kubeconfig: its kind is not Config"],
    ["clusters: {}\n", "config is no kubeconfig: clusters is not a list"],
  ];
  for (const [text, message] of cases) {
    expect(() => parseKubeconfig(text, "config"), text).toThrow(
      expect.objectContaining({ code: "CC_KUBECONFIG_INVALID", message }),
    );
  }
});

test("any text gives a document or an error of ours", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), (text) => {
      try {
        parseKubeconfig(text, "config").toString();
      } catch (error) {
        expect(error).toMatchObject({ code: "CC_KUBECONFIG_INVALID" });
      }
    }),
  );
});

test("values of others stay as they were written, to the digit", () => {
  const text = `clusters:
- name: a
  cluster:
    extensions:
    - name: x
      extension: {id: 12345678901234567890, octal: 0123, float: 1.10, word: yes, hex: 0x1F, none: ~}
users: []
contexts:
- name: a
  context: {cluster: a}
`;
  const document = parseKubeconfig(text, "config");
  document.add([entry("prod")]);
  const changed = document.toString();
  for (const value of ["id: 12345678901234567890", "octal: 0123", "float: 1.10", "word: yes", "hex: 0x1F", "none: ~"]) {
    expect(changed).toContain(value);
  }
  const json = parseKubeconfig('{"x": 12345678901234567890, "y": [1.10, true, null, "s"], "users": []}', "config");
  json.add([entry("prod")]);
  expect(json.toString()).toContain(
    '"x": 12345678901234567890,\n  "y": [\n    1.10,\n    true,\n    null,\n    "s"\n  ]',
  );
  expect(JSON.parse(json.toString())["current-context"]).toBe("prod");
});

test("of a key that is there twice the last one counts, as for kubectl", () => {
  const text = "users:\n- name: first\nusers:\n- name: second\ncurrent-context: a\ncurrent-context: b\n";
  const document = parseKubeconfig(text, "config");
  expect(document.currentContext).toBe("b");
  document.add([entry("prod")]);
  const again = parseKubeconfig(document.toString(), "config");
  expect(again.currentContext).toBe("prod");
  expect(document.toString()).toMatch(/users:\n- name: first\nusers:\n- name: second\n- name: cluster-connect\//);
});

test("the first document counts, and the others stay", () => {
  const document = parseKubeconfig(`${KUBECTL_STYLE}---\n# not kubectl's\nclusters: 7\n`, "config");
  document.add([entry("prod")]);
  expect(document.toString()).toMatch(/\n---\n# not kubectl's\nclusters: 7\n$/);
  document.remove([entry("prod").name], "office");
  expect(document.toString()).toBe(`${KUBECTL_STYLE}---\n# not kubectl's\nclusters: 7\n`);
});

test("lists that are aliases, or that aliases mean, are changed without changing the other place", () => {
  const text =
    "mine: &list\n- name: a\n  cluster: {server: https://a}\nclusters: *list\nusers: &users []\nother: *users\n";
  const document = parseKubeconfig(text, "config");
  document.add([entry("prod")]);
  const value = parse(document.toString());
  expect(value.mine).toEqual([{ name: "a", cluster: { server: "https://a" } }]);
  expect(value.other).toEqual([]);
  expect(value.clusters).toHaveLength(2);
  expect(value.users).toHaveLength(1);
});

test("contexts that are merged from others are seen", () => {
  const text = "contexts:\n- &base {name: base, context: {cluster: office}}\n- {<<: *base, name: prod}\n";
  const document = parseKubeconfig(text, "config");
  expect(document.hasForeignContext("prod")).toBe(true);
  expect(() => document.add([entry("prod")])).toThrow("was not made by cluster-connect");
});

test("line ends of Windows stay", () => {
  const text = KUBECTL_STYLE.replaceAll("\n", "\r\n");
  const document = parseKubeconfig(text, "config");
  document.add([entry("prod")]);
  expect(document.toString()).not.toMatch(/[^\r]\n/);
  document.remove([entry("prod").name], "office");
  expect(document.toString()).toBe(text);
});
