// A client of client-go that does many things at once, as controllers do. What it finds is one JSON object a line.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// What a scene gets: its client's settings without a limit on requests, and how many to do.
type scene struct {
	config    *rest.Config
	count     int
	namespace string
	pod       string
	// Names of the events that were told, one line each on standard input; ends with it.
	told io.Reader
}

var scenes = map[string]func(context.Context, scene) error{
	"burst":     burst,
	"watches":   watches,
	"informers": informers,
	"execs":     execs,
	"api":       api,
	"head":      head,
}

func main() {
	name := flag.String("scene", "", "burst, watches, informers, execs, api or head")
	count := flag.Int("count", 1, "how many at once, or how long")
	namespace := flag.String("namespace", "default", "where")
	pod := flag.String("pod", "", "the pod of execs")
	kubeContext := flag.String("context", "", "context of the kubeconfig")
	flag.Parse()
	run, ok := scenes[*name]
	if !ok {
		fail(fmt.Errorf("there is no scene %q", *name))
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		clientcmd.NewDefaultClientConfigLoadingRules(),
		&clientcmd.ConfigOverrides{CurrentContext: *kubeContext},
	).ClientConfig()
	if err != nil {
		fail(err)
	}
	config.QPS = -1
	if err := run(context.Background(), scene{config, *count, *namespace, *pod, os.Stdin}); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "error:", err)
	os.Exit(1)
}

var writing sync.Mutex

// Tells one fact as a line.
func tell(fact any) {
	writing.Lock()
	defer writing.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(fact); err != nil {
		fail(errors.Join(errors.New("nobody listens"), err))
	}
}

// Does something so many times at once, and waits for all.
func atOnce(count int, do func(index int)) {
	var all sync.WaitGroup
	for index := range count {
		all.Add(1)
		go func() {
			defer all.Done()
			do(index)
		}()
	}
	all.Wait()
}

func since(from time.Time) int64 { return time.Since(from).Milliseconds() }
