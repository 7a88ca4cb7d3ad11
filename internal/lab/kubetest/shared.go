// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/percale-net/percale/internal/lab/kubeapi"
)

// shared is the server that the tests of a binary share, with its folder.
var shared struct {
	turn   sync.Mutex // held by the test that uses the server
	dir    string
	server *Server
	err    error // why there is none
}

// Main runs the tests of a package that uses Shared, and ends the server. It
// returns the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	if shared.server != nil {
		if err := shared.server.end(); err != nil {
			fmt.Fprintln(os.Stderr, "end the shared API server:", err)
			code = max(code, 1)
		}
	}
	os.RemoveAll(shared.dir)
	return code
}

// Shared lends the test the binary's server until the test ends: tests that
// call it take turns, parallel or not. It starts the server, with
// kube-controller-manager, at the first call. The test finds it running, with
// no Node, and none of what agents make. The package's TestMain must call Main.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	shared.turn.Lock()
	tb.Cleanup(shared.turn.Unlock)
	if shared.dir == "" {
		if shared.dir, shared.err = os.MkdirTemp("", "kubetest-"); shared.err == nil {
			shared.server, shared.err = start(shared.dir, Options{Manager: true})
		}
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	s := shared.server
	s.Restart(tb) // where the last test killed it
	if err := s.clear(tb.Context()); err != nil {
		tb.Fatalf("remove what the last test left: %v", err)
	}
	return s
}

// clear removes the objects that tests make.
func (s *Server) clear(ctx context.Context) error {
	none := int64(0)
	now := metav1.DeleteOptions{GracePeriodSeconds: &none}
	for _, kind := range []dynamic.ResourceInterface{
		s.Resource(kubeapi.Nodes, ""),
		s.Resource(kubeapi.Pods, kubeapi.Namespace),
		s.Resource(kubeapi.Leases, kubeapi.Namespace),
		s.Resource(kubeapi.Events, metav1.NamespaceDefault),
	} {
		if err := kind.DeleteCollection(ctx, now, metav1.ListOptions{}); err != nil {
			return err
		}
	}
	return nil
}
