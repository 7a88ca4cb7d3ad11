// SPDX-License-Identifier: Apache-2.0

// Percale-cni is the CNI plugin that wires pods to their node: a bridge, a
// veth pair, addresses and routes, in one process. It reads what the node may
// give from subnet.env, which percaled writes (flannel writes the same file),
// and keeps pod addresses in the files of the host-local plugin. It needs no
// agent to run: it can add and delete pods while percaled is down.
package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"
)

func main() { os.Exit(run()) }

// run serves one CNI call, which stands in the environment and on standard
// input, and returns the exit code.
func run() int {
	runtime.GOMAXPROCS(1) // there is nothing to do at once, and threads cost more than they bring
	var used string
	verbs := skel.CNIFuncs{
		Add: noting(&used, add), Del: noting(&used, del), Check: noting(&used, check), GC: noting(&used, gc), Status: noting(&used, status),
	}
	versions := version.PluginSupports("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
	failed := skel.PluginMainFuncsWithError(verbs, versions, "percale-cni: wires pods to the Percale network")
	if failed == nil {
		return 0
	}
	if err := newFailure(used, failed).print(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "print error:", err)
	}
	return 1
}
