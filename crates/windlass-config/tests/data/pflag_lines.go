// Prints what pflag makes of command lines: the line, its arguments separated by `|`, and what the
// flags then are or that there is an error, separated by tabs. Run in a module that requires
// github.com/spf13/pflag v1.0.10 by `go run pflag_lines.go > pflag_lines.tsv`.
package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

var lines = []string{
	"",
	"--v=4", "--v|4", "-v=4", "-v|4", "-v4", "-v", "--v", "-v=", "--v=", "-v|--v=3", "-v=4|-v=5",
	"--scan-interval=20s", "--scan-interval|20s", "--scan_interval=20s", "--scan_interval|20s", "-scan-interval=20s",
	"--scan-interval", "--scan-interval=", "--scan-interval|", "--scan-interval=1s|--scan-interval=2s", "--scan-interval=x|--scan-interval=2s",
	"--profiling", "--profiling=true", "--profiling=false", "--profiling|false", "--profiling=", "--profiling=T", "--profiling|--profiling=0", "--profiling|--v|2",
	"--namespace=a", "--namespace=a=b", "--namespace=", "--namespace|--v", "--namespace|-v", "--namespace=a|--namespace=b", "--Namespace=a", "--namespace = a", "--namespace|=a",
	"--startup-taint=a", "--startup-taint=a,b", "--startup-taint=a|--startup-taint|b", "--startup-taint=", "--startup_taint=a|--startup-taint=b",
	"--bypassed-scheduler-names=a", "--bypassed-scheduler-names=b,a", "--bypassed-scheduler-names=a|--bypassed-scheduler-names=c,b", "--bypassed-scheduler-names=",
	`--bypassed-scheduler-names="a,b",c`, `--bypassed-scheduler-names="a`, `--bypassed-scheduler-names=a"b`, `--bypassed-scheduler-names="a""b"`, "--bypassed-scheduler-names= a, b",
	"--max-nodes-total=5", "--max-nodes-total=-5", "--max-nodes-total|-5", "--max-nodes-total=0x10", "--max-nodes-total=1_000", "--max-nodes-total=010", "--max-nodes-total=5.0",
	"--kube-client-qps=7.5", "--kube-client-qps=7_0", "--kube-client-qps=",
	"--|--v=4", "--v=4|--", "a|--v=4", "a|b", "-", "-|--v=4", "|--v=4", "---v=4", "--=4", "-=4", "--v=4|a|--v=5", "--namespace|--|--v=4",
	"--help", "-h", "--help=true", "--unknown", "--unknown=1", "-x", "-x=1", "-4", "--v=4|--unknown|--v=5",
}

func main() {
	for _, line := range lines {
		flags := pflag.NewFlagSet("cluster-autoscaler", pflag.ContinueOnError)
		flags.SetOutput(io.Discard)
		flags.Usage = func() {}
		flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
			return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
		})
		verbosity := flags.Uint32P("v", "v", 0, "")
		interval := flags.Duration("scan-interval", 0, "")
		profiling := flags.Bool("profiling", false, "")
		namespace := flags.String("namespace", "", "")
		taints := flags.StringArray("startup-taint", nil, "")
		schedulers := flags.StringSlice("bypassed-scheduler-names", nil, "")
		nodes := flags.Int("max-nodes-total", 0, "")
		qps := flags.Float64("kube-client-qps", 0, "")

		var arguments []string
		if line != "" {
			arguments = strings.Split(line, "|")
		}
		err := flags.Parse(arguments)
		outcome := "error"
		switch {
		case errors.Is(err, pflag.ErrHelp):
			outcome = "help"
		case err == nil:
			var set []string
			flags.Visit(func(flag *pflag.Flag) {
				var value any
				switch flag.Name {
				case "v":
					value = *verbosity
				case "scan-interval":
					value = *interval
				case "profiling":
					value = *profiling
				case "namespace":
					value = *namespace
				case "startup-taint":
					value = strings.Join(*taints, ";")
				case "bypassed-scheduler-names":
					value = strings.Join(*schedulers, ";")
				case "max-nodes-total":
					value = *nodes
				case "kube-client-qps":
					value = *qps
				}
				set = append(set, fmt.Sprintf("%s<%v>", flag.Name, value))
			})
			outcome = strings.Join(append(set, fmt.Sprintf("rest<%s>", strings.Join(flags.Args(), ";"))), " ")
		}
		fmt.Printf("%s\t%s\n", line, outcome)
	}
}
