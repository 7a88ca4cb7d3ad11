// SPDX-License-Identifier: Apache-2.0

// The process is over before its number of processors could change: one thread
// less.
//go:debug updatemaxprocs=0

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
)

func main() { os.Exit(run()) }

// run serves one CNI call, which stands in the environment and on standard
// input, and returns the exit code.
func run() int {
	runtime.GOMAXPROCS(1) // there is nothing to do at once, and threads cost more than they bring
	if os.Getenv("CNI_COMMAND") == "" {
		fmt.Fprintln(os.Stderr, "percale-cni: wires pods to the Percale network; runtimes call it, as the specification of CNI has it")
		return 0
	}
	used, failed := serve(os.Stdin, os.Stdout)
	if failed == nil {
		return 0
	}
	if err := newFailure(used, failed).print(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "print error:", err)
	}
	return 1
}
