// Leaderelect holds a Lease by client-go's leader election, as the Go autoscaler does.
//
// It prints one line for each turn of events: "leading", "stopped", or "observed NAME" when
// somebody holds the Lease. SIGTERM releases the Lease; SIGKILL leaves it to run out.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "leaderelect:", err)
		os.Exit(1)
	}
}

func run() error {
	kubeconfig := flag.String("kubeconfig", os.Getenv("KUBECONFIG"), "path of the kubeconfig")
	namespace := flag.String("namespace", "kube-system", "namespace of the Lease")
	name := flag.String("name", "cluster-autoscaler", "name of the Lease")
	identity := flag.String("identity", "leaderelect", "who to be")
	leaseDuration := flag.Duration("lease-duration", 15*time.Second, "how long others wait for a silent leader")
	renewDeadline := flag.Duration("renew-deadline", 10*time.Second, "how long a leader tries to renew before it stops")
	retryPeriod := flag.Duration("retry-period", 2*time.Second, "time between tries")
	flag.Parse()

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	lock, err := resourcelock.New(
		resourcelock.LeasesResourceLock, *namespace, *name,
		client.CoreV1(), client.CoordinationV1(),
		resourcelock.ResourceLockConfig{Identity: *identity},
	)
	if err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            lock,
		LeaseDuration:   *leaseDuration,
		RenewDeadline:   *renewDeadline,
		RetryPeriod:     *retryPeriod,
		ReleaseOnCancel: true,
		Name:            *name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { say("leading") },
			OnStoppedLeading: func() { say("stopped") },
			OnNewLeader:      func(who string) { say("observed " + who) },
		},
	})
	if err != nil {
		return err
	}
	elector.Run(ctx)
	return nil
}

// say prints one line with the time, in RFC 3339 with microseconds, before the words.
func say(words string) {
	fmt.Println(time.Now().UTC().Format("2006-01-02T15:04:05.000000Z07:00"), words)
}
