package main

import (
	"context"
	"strings"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Lists by a selector of so many characters on a fresh connection, then by a short one, then by the long one again: what
// came of each.
func head(ctx context.Context, s scene) error {
	client, err := kubernetes.NewForConfig(s.config)
	if err != nil {
		return err
	}
	list := func(name string) string {
		selector := "metadata.name=" + name
		_, err := client.CoreV1().ConfigMaps(s.namespace).List(ctx, meta.ListOptions{FieldSelector: selector})
		if err != nil {
			return err.Error()[max(0, len(err.Error())-200):]
		}
		return "done"
	}
	long := strings.Repeat("x", s.count)
	tell([]string{list(long), list("x"), list(long)})
	return nil
}
