// Scenes of the JavaScript client: one line for each, its name and what came of it. KUBECONFIG names the cluster.
import { randomUUID } from "node:crypto";
import { CoreV1Api, KubeConfig, KubernetesObjectApi, makeInformer, VersionApi, Watch } from "@kubernetes/client-node";

const config = new KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(CoreV1Api);
const namespace = `upstream-${randomUUID().slice(0, 8)}`;
const configMap = (name, data = {}) => ({ metadata: { name, labels: { made: "here" } }, data });
const statusOf = async (call) => {
  try {
    await call;
    return 200;
  } catch (error) {
    return error.code;
  }
};

const scenes = {
  async write() {
    const body = configMap("a", { text: "größe 内存", large: "x".repeat(900_000) });
    const made = await core.createNamespacedConfigMap({ namespace, body });
    const { metadata } = made;
    const replaced = await core.replaceNamespacedConfigMap({
      name: "a",
      namespace,
      body: { metadata, data: { b: "ö" } },
    });
    return [made.data.large.length, replaced.data];
  },
  async refuse() {
    const missing = { name: "missing", namespace };
    return [
      await statusOf(core.createNamespacedConfigMap({ namespace, body: configMap("a") })),
      await statusOf(core.createNamespacedConfigMap({ namespace, body: configMap("NO") })),
      await statusOf(core.readNamespacedConfigMap(missing)),
      await statusOf(core.readNamespacedPodLog(missing)),
      await statusOf(core.connectGetNamespacedServiceProxy(missing)),
    ];
  },
  async pages() {
    for (let index = 0; index < 12; index += 1) {
      await core.createNamespacedConfigMap({ namespace, body: configMap(`page-${String(index).padStart(2, "0")}`) });
    }
    const found = [];
    for (let after; ; ) {
      const asked = { namespace, labelSelector: "made=here", limit: 5, _continue: after };
      const page = await core.listNamespacedConfigMap(asked);
      found.push(page.items.map((item) => item.metadata.name));
      after = page.metadata._continue;
      if (!after) return found;
    }
  },
  async follow() {
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    const { metadata } = await core.listNamespacedConfigMap({ namespace });
    const said = [];
    const over = Promise.withResolvers();
    const tell = (type, object) => {
      said.push([type, object.metadata.name, object.data ?? null]);
      if (type === "DELETED") over.resolve();
    };
    const done = (error) => (error && error.name !== "AbortError" ? over.reject(error) : over.resolve());
    const stop = await new Watch(config).watch(path, { resourceVersion: metadata.resourceVersion }, tell, done);
    await core.createNamespacedConfigMap({ namespace, body: configMap("seen", { a: "ö" }) });
    await core.deleteNamespacedConfigMap({ name: "seen", namespace });
    await over.promise;
    stop.abort();
    return said;
  },
  async inform() {
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    const informer = makeInformer(config, path, () => core.listNamespacedConfigMap({ namespace }));
    const seen = Promise.withResolvers();
    informer.on("add", (object) => object.metadata.name === "informed" && seen.resolve(object.data));
    informer.on("error", seen.reject);
    await informer.start();
    await core.createNamespacedConfigMap({ namespace, body: configMap("informed", { a: "1" }) });
    const data = await seen.promise;
    await informer.stop();
    return data;
  },
  async objects() {
    const objects = KubernetesObjectApi.makeApiClient(config);
    const made = await objects.create({
      apiVersion: "v1",
      kind: "ConfigMap",
      ...configMap("object"),
      metadata: { name: "object", namespace },
    });
    const read = await objects.read({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "object", namespace } });
    return [made.kind, read.metadata.name];
  },
  async version() {
    return (await config.makeApiClient(VersionApi).getCode()).gitVersion;
  },
  async remove() {
    await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: "made=here" });
    return (await core.listNamespacedConfigMap({ namespace, labelSelector: "made=here" })).items.length;
  },
};

await core.createNamespace({ body: { metadata: { name: namespace } } });
try {
  for (const [name, scene] of Object.entries(scenes)) {
    const outcome = await scene().catch((error) => {
      process.stderr.write(`${name}: ${error.stack}\n`);
      return `${error.name}: ${error.message}`;
    });
    process.stdout.write(`${name} ${JSON.stringify(outcome).replaceAll(namespace, "NAMESPACE")}\n`);
  }
} finally {
  await core.deleteNamespace({ name: namespace });
}
