"""Scenes of the Python client: one line for each, its name and what came of it. KUBECONFIG names the cluster."""

import sys
import uuid

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.dynamic import DynamicClient

config.load_kube_config()
core = client.CoreV1Api()
namespace = f"upstream-{uuid.uuid4().hex[:8]}"


def config_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"made": "here"}), data=data)


def status_of(call):
    try:
        call()
        return 200
    except ApiException as error:
        return error.status


def write():
    made = core.create_namespaced_config_map(namespace, config_map("a", text="größe 内存", large="x" * 900_000))
    body = core.patch_namespaced_config_map("a", namespace, {"data": {"more": "1", "large": None}})
    body.data["last"] = "2"
    replaced = core.replace_namespaced_config_map("a", namespace, body)
    return [len(made.data["large"]), sorted(body.data), replaced.data["text"]]


def refuse():
    stale = core.read_namespaced_config_map("a", namespace)
    core.patch_namespaced_config_map("a", namespace, {"data": {"more": "3"}})
    return [
        status_of(lambda: core.replace_namespaced_config_map("a", namespace, stale)),
        status_of(lambda: core.create_namespaced_config_map(namespace, config_map("a"))),
        status_of(lambda: core.create_namespaced_config_map(namespace, config_map("NO"))),
        status_of(lambda: core.read_namespaced_config_map("missing", namespace)),
        status_of(lambda: core.read_namespaced_pod_log("missing", namespace)),
        status_of(lambda: core.connect_get_namespaced_service_proxy("missing", namespace)),
    ]


def pages():
    for index in range(12):
        core.create_namespaced_config_map(namespace, config_map(f"page-{index:02}"))
    found, after, sizes = [], None, []
    while True:
        page = core.list_namespaced_config_map(namespace, label_selector="made=here", limit=5, _continue=after)
        sizes.append(len(page.items))
        found += [item.metadata.name for item in page.items]
        after = page.metadata._continue
        if not after:
            return [sizes, found[0], found[-1]]


def follow():
    version = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.create_namespaced_config_map(namespace, config_map("seen"))
    core.patch_namespaced_config_map("seen", namespace, {"data": {"a": "ö"}})
    core.delete_namespaced_config_map("seen", namespace)
    events = watch.Watch().stream(core.list_namespaced_config_map, namespace, resource_version=version, timeout_seconds=60)
    said = []
    for event in events:
        said.append([event["type"], event["object"].data])
        if event["type"] == "DELETED":
            return said


def dynamic():
    maps = DynamicClient(client.ApiClient()).resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"a": "1"}}
    applied = maps.server_side_apply(body=body, namespace=namespace, field_manager="upstream")
    return [applied.data.to_dict(), applied.metadata.managedFields[0].operation]


def discovery():
    groups = client.ApisApi().get_api_versions().groups
    return [client.VersionApi().get_code().git_version, sorted(group.name for group in groups)]


def remove():
    core.delete_collection_namespaced_config_map(namespace, label_selector="made=here")
    return [item.metadata.name for item in core.list_namespaced_config_map(namespace, label_selector="made=here").items]


core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
try:
    for scene in (write, refuse, pages, follow, dynamic, discovery, remove):
        try:
            outcome = scene()
        except Exception as error:  # each is an outcome to compare
            outcome = f"{type(error).__name__}: {error}"
            print(f"{scene.__name__}: {error}", file=sys.stderr)
        print(scene.__name__, str(outcome).replace(namespace, "NAMESPACE").replace("\n", " "))
finally:
    core.delete_namespace(namespace)
