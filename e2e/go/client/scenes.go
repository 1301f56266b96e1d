package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	kubewatch "k8s.io/apimachinery/pkg/watch"
	apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/pager"
	"k8s.io/client-go/tools/watch"
)

// The small scenes of client-go: one line for each, its name and what came of it.
func api(ctx context.Context, s scene) error {
	client, err := kubernetes.NewForConfig(s.config)
	if err != nil {
		return err
	}
	namespace := "upstream-" + rand.String(8)
	object := &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: namespace}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, object, meta.CreateOptions{}); err != nil {
		return err
	}
	defer client.CoreV1().Namespaces().Delete(ctx, namespace, meta.DeleteOptions{})
	all := small{client, s, namespace}
	for _, one := range []struct {
		name string
		do   func(context.Context) (any, error)
	}{
		{"write", all.write}, {"refuse", all.refuse}, {"pages", all.pages}, {"follow", all.follow},
		{"dynamic", all.dynamic}, {"discovery", all.discovery}, {"remove", all.remove},
	} {
		outcome, err := one.do(ctx)
		if err != nil {
			outcome = err.Error()
		}
		text, err := json.Marshal(outcome)
		if err != nil {
			return err
		}
		fmt.Println(one.name, strings.ReplaceAll(string(text), namespace, "NAMESPACE"))
	}
	return nil
}

type small struct {
	client    kubernetes.Interface
	scene     scene
	namespace string
}

func configMap(name string, data map[string]string) *core.ConfigMap {
	return &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{"made": "here"}}, Data: data}
}

func statusOf(_ any, err error) int32 {
	if status, ok := err.(apierrors.APIStatus); ok {
		return status.Status().Code
	}
	return 0
}

func (s small) write(ctx context.Context) (any, error) {
	maps := s.client.CoreV1().ConfigMaps(s.namespace)
	data := map[string]string{"text": "größe 内存", "large": strings.Repeat("x", 900_000)}
	made, err := maps.Create(ctx, configMap("a", data), meta.CreateOptions{})
	if err != nil {
		return nil, err
	}
	size := len(made.Data["large"])
	patch := []byte(`{"data":{"large":null,"more":"1"}}`)
	if _, err = maps.Patch(ctx, "a", types.MergePatchType, patch, meta.PatchOptions{}); err != nil {
		return nil, err
	}
	wanted := apply.ConfigMap("a", s.namespace).WithData(map[string]string{"applied": "ö"})
	applied, err := maps.Apply(ctx, wanted, meta.ApplyOptions{FieldManager: "upstream"})
	if err != nil {
		return nil, err
	}
	return []any{size, applied.Data}, nil
}

func (s small) refuse(ctx context.Context) (any, error) {
	maps := s.client.CoreV1().ConfigMaps(s.namespace)
	stale, err := maps.Get(ctx, "a", meta.GetOptions{})
	if err != nil {
		return nil, err
	}
	if _, err = maps.Update(ctx, stale.DeepCopy(), meta.UpdateOptions{}); err != nil {
		return nil, err
	}
	stale.ResourceVersion = "1"
	log := s.client.CoreV1().Pods(s.namespace).GetLogs("missing", &core.PodLogOptions{})
	return []int32{
		statusOf(maps.Update(ctx, stale, meta.UpdateOptions{})),
		statusOf(maps.Create(ctx, configMap("a", nil), meta.CreateOptions{})),
		statusOf(maps.Create(ctx, configMap("NO", nil), meta.CreateOptions{})),
		statusOf(maps.Get(ctx, "missing", meta.GetOptions{})),
		statusOf(log.DoRaw(ctx)),
	}, nil
}

func (s small) pages(ctx context.Context) (any, error) {
	maps := s.client.CoreV1().ConfigMaps(s.namespace)
	for index := range 12 {
		if _, err := maps.Create(ctx, configMap(fmt.Sprintf("page-%02d", index), nil), meta.CreateOptions{}); err != nil {
			return nil, err
		}
	}
	var found []string
	list := func(ctx context.Context, options meta.ListOptions) (runtime.Object, error) {
		return maps.List(ctx, options)
	}
	pages := pager.New(list)
	pages.PageSize = 5
	err := pages.EachListItem(ctx, meta.ListOptions{LabelSelector: "made=here"}, func(object runtime.Object) error {
		found = append(found, object.(*core.ConfigMap).Name)
		return nil
	})
	return found, err
}

func (s small) follow(ctx context.Context) (any, error) {
	maps := s.client.CoreV1().ConfigMaps(s.namespace)
	list, err := maps.List(ctx, meta.ListOptions{})
	if err != nil {
		return nil, err
	}
	events, err := watch.NewRetryWatcherWithContext(ctx, list.ResourceVersion, watcher{maps})
	if err != nil {
		return nil, err
	}
	defer events.Stop()
	if _, err := maps.Create(ctx, configMap("seen", map[string]string{"a": "ö"}), meta.CreateOptions{}); err != nil {
		return nil, err
	}
	if err := maps.Delete(ctx, "seen", meta.DeleteOptions{}); err != nil {
		return nil, err
	}
	var said []string
	for event := range events.ResultChan() {
		said = append(said, string(event.Type)+" "+event.Object.(*core.ConfigMap).Data["a"])
		if event.Type == "DELETED" {
			break
		}
	}
	return said, nil
}

func (s small) dynamic(ctx context.Context) (any, error) {
	client, err := dynamic.NewForConfig(s.scene.config)
	if err != nil {
		return nil, err
	}
	maps := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(s.namespace)
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "dynamic"}, "data": map[string]any{"a": "1"},
	}}
	made, err := maps.Create(ctx, object, meta.CreateOptions{DryRun: []string{"All"}})
	if err != nil {
		return nil, err
	}
	return made.Object["data"], nil
}

func (s small) discovery(ctx context.Context) (any, error) {
	_, resources, err := s.client.Discovery().ServerGroupsAndResources()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, group := range resources {
		found = append(found, fmt.Sprintf("%s %d", group.GroupVersion, len(group.APIResources)))
	}
	slices.Sort(found)
	version, err := s.client.Discovery().ServerVersion()
	return []any{version, found}, err
}

func (s small) remove(ctx context.Context) (any, error) {
	maps := s.client.CoreV1().ConfigMaps(s.namespace)
	made := meta.ListOptions{LabelSelector: "made=here"}
	if err := maps.DeleteCollection(ctx, meta.DeleteOptions{}, made); err != nil {
		return nil, err
	}
	left, err := maps.List(ctx, made)
	if err != nil {
		return nil, err
	}
	return len(left.Items), nil
}

// What a retrying watcher asks for.
type watcher struct{ typed.ConfigMapInterface }

func (w watcher) WatchWithContext(ctx context.Context, options meta.ListOptions) (kubewatch.Interface, error) {
	return w.Watch(ctx, options)
}
