// Verdicts answers scheduling cases with kube-scheduler's own plugins.
//
// It reads cases, one JSON object a line as described in tests/conformance/scheduling/README.md,
// from standard input, and writes each of them to standard output with its "want" replaced by what
// the plugins of the linked Kubernetes release answer: PreFilter once over all nodes, then Filter
// on each node, as the cluster-autoscaler asks. A case whose answers differ from one asking to the
// next is left out, and said to be so on standard error.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"sync"

	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/scheduler/metrics"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "verdicts:", err)
		os.Exit(1)
	}
}

func run() error {
	rounds := flag.Int("rounds", 3, "how often each case is asked; all answers must be alike")
	field := flag.String("field", "want", "the field that the answers go to")
	flag.Parse()
	metrics.Register()
	klog.SetLogger(klog.Logger{})

	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	output := bufio.NewWriter(os.Stdout)
	defer output.Flush()

	type work struct {
		line   []byte
		answer chan []byte
	}
	lines := make(chan work)
	ordered := make(chan work, 64)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for work := range lines {
				answered, err := answerLine(work.line, *field, *rounds)
				if err != nil {
					fmt.Fprintf(os.Stderr, "verdicts: left out: %v\n", err)
				}
				work.answer <- answered
			}
		})
	}
	failed := make(chan error, 1)
	go func() {
		defer close(ordered)
		defer close(lines)
		for {
			line, err := input.ReadBytes('\n')
			if line = bytes.TrimSpace(line); len(line) > 0 {
				next := work{line: line, answer: make(chan []byte, 1)}
				ordered <- next
				lines <- next
			}
			if err == io.EOF {
				failed <- nil
				return
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	for work := range ordered {
		if answered := <-work.answer; answered != nil {
			output.Write(answered)
			output.WriteByte('\n')
		}
	}
	workers.Wait()
	return <-failed
}

// answerLine gives the line back with its answers; nothing where there is no single answer.
func answerLine(line []byte, field string, rounds int) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return nil, err
	}
	id := string(fields["id"])
	var asked testCase
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	var first []answer
	for round := range rounds {
		answers, err := asked.answers(context.Background())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		if round == 0 {
			first = answers
		} else if !reflect.DeepEqual(first, answers) {
			return nil, fmt.Errorf("%s: the answers vary", id)
		}
	}
	encoded, err := encode(first)
	if err != nil {
		return nil, err
	}
	fields[field] = encoded
	return encode(fields)
}

// encode writes JSON as it is, without escapes made for HTML.
func encode(value any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(buffer.Bytes()), nil
}
