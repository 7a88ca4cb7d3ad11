// SPDX-License-Identifier: Apache-2.0

// Command kubeapi is a Kubernetes control plane for tests: "kubeapi
// kube-apiserver" and "kubeapi kube-controller-manager", followed by the usual
// flags of these servers, built from their own source. It is one binary because
// most of what it links serves both. It stands in a module of its own, so that
// what Kubernetes requires is not required of Percale.
package main

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	os.Exit(cli.Run(command(os.Args)))
}

// command returns the one server that args name, or what lists them: making
// both would have both register the same flags of the process.
func command(args []string) *cobra.Command {
	root := &cobra.Command{Use: "kubeapi", Short: "Kubernetes servers for tests"}
	servers := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": manager.NewControllerManagerCommand,
	}
	for name, make := range servers {
		if len(args) > 1 && args[1] == name {
			root.AddCommand(make())
		}
	}
	return root
}
