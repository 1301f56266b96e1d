package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
)

// One exec of cat: what is written comes back.
type echo struct {
	in    io.WriteCloser
	out   *bufio.Reader
	ended chan error
}

// Opens count execs in a pod and tells when each has echoed a word. For each line of its input each echoes that line.
// When the input ends, the execs end with theirs.
func execs(ctx context.Context, s scene) error {
	client, err := kubernetes.NewForConfig(s.config)
	if err != nil {
		return err
	}
	from := time.Now()
	all := make([]echo, s.count)
	for index := range all {
		if all[index], err = openEcho(ctx, s, client.CoreV1().RESTClient()); err != nil {
			return err
		}
	}
	if err := echoAll(all, "first"); err != nil {
		return err
	}
	tell(map[string]any{"open": s.count, "ms": since(from)})
	lines := bufio.NewScanner(s.told)
	for lines.Scan() {
		if err := echoAll(all, lines.Text()); err != nil {
			return err
		}
		tell(map[string]any{"seen": lines.Text(), "by": s.count})
	}
	for _, one := range all {
		one.in.Close()
		if err := <-one.ended; err != nil {
			return err
		}
	}
	return nil
}

func openEcho(ctx context.Context, s scene, client rest.Interface) (echo, error) {
	options := &core.PodExecOptions{Command: []string{"cat"}, Stdin: true, Stdout: true}
	url := client.Get().Resource("pods").Name(s.pod).Namespace(s.namespace).SubResource("exec").
		VersionedParams(options, scheme.ParameterCodec).URL()
	executor, err := remotecommand.NewWebSocketExecutor(s.config, "GET", url.String())
	if err != nil {
		return echo{}, err
	}
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout})
		stdout.CloseWithError(err)
		ended <- err
	}()
	return echo{in, bufio.NewReader(out), ended}, nil
}

func echoAll(all []echo, word string) error {
	failed := make(chan error, len(all))
	atOnce(len(all), func(index int) {
		one := all[index]
		if _, err := fmt.Fprintln(one.in, word); err != nil {
			failed <- err
			return
		}
		if line, err := one.out.ReadString('\n'); err != nil || line != word+"\n" {
			failed <- fmt.Errorf("an exec said %q, %w", line, err)
		}
	})
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
