package main

import (
	"bufio"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// Opens count watches of ConfigMaps and tells when all are open. For each line of its input, the name of a ConfigMap,
// it tells when all have seen it. It ends with its input, and fails when a watch ends before.
func watches(ctx context.Context, s scene) error {
	client, err := kubernetes.NewForConfig(s.config)
	if err != nil {
		return err
	}
	from := time.Now()
	opened := make([]watch.Interface, s.count)
	failed := make(chan error, s.count)
	atOnce(s.count, func(index int) {
		one, err := client.CoreV1().ConfigMaps(s.namespace).Watch(ctx, meta.ListOptions{})
		if err != nil {
			failed <- err
			return
		}
		opened[index] = one
	})
	select {
	case err := <-failed:
		return err
	default:
	}
	tell(map[string]any{"open": s.count, "ms": since(from)})
	var ended atomic.Int64
	seen := make(chan string, s.count)
	for _, one := range opened {
		go func() {
			for event := range one.ResultChan() {
				if object, ok := event.Object.(*core.ConfigMap); ok && event.Type == watch.Added {
					seen <- object.Name
				}
			}
			ended.Add(1)
			seen <- ""
		}()
	}
	lines := bufio.NewScanner(s.told)
	for lines.Scan() {
		for count := 0; count < s.count; {
			switch name := <-seen; name {
			case lines.Text():
				count++
			case "":
				return fmt.Errorf("%d watches ended", ended.Load())
			}
		}
		tell(map[string]any{"seen": lines.Text(), "by": s.count - int(ended.Load())})
	}
	return nil
}
