package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	shared "k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Starts count informers of ConfigMaps, each in a namespace of its own (NAMESPACE-0 and so on), tells when all have
// synced, and holds them until its input ends.
func informers(ctx context.Context, s scene) error {
	client, err := kubernetes.NewForConfig(s.config)
	if err != nil {
		return err
	}
	from := time.Now()
	synced := make([]cache.InformerSynced, s.count)
	for index := range s.count {
		namespace := shared.WithNamespace(fmt.Sprintf("%s-%d", s.namespace, index))
		informer := shared.NewSharedInformerFactoryWithOptions(client, 0, namespace).Core().V1().ConfigMaps().Informer()
		synced[index] = informer.HasSynced
		go informer.Run(ctx.Done())
	}
	if err := wait.PollUntilContextCancel(ctx, time.Millisecond, true, func(context.Context) (bool, error) {
		for len(synced) > 0 && synced[0]() {
			synced = synced[1:]
		}
		return len(synced) == 0, nil
	}); err != nil {
		return err
	}
	tell(map[string]any{"synced": s.count, "ms": since(from)})
	if _, err := io.Copy(io.Discard, s.told); err != nil {
		return errors.Join(errors.New("the input broke off"), err)
	}
	return nil
}
