// SPDX-License-Identifier: Apache-2.0

// Package kubetest runs a real Kubernetes API server for tests, on loopback,
// with RBAC and admission on. It takes some six seconds to start and some 300 MB
// of memory, so tests of a package share one where they can; see Shared.
package kubetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/kubeapi"
)

// limit bounds the start of a server, on a machine that is busy.
const limit = 3 * time.Minute

// Options says what runs, beside the API server.
type Options struct {
	Manager  bool           // kube-controller-manager: garbage collection, and pod ranges for Nodes
	PodCIDRs []netip.Prefix // with Manager: what Nodes are given parts of
	Args     []string       // further arguments for the API server
}

// A Server is an API server with its etcd. Its Plane says where it is; its
// Client asks as an administrator.
type Server struct {
	kubeapi.Plane
	*kubeapi.Client

	options Options
	bin     string
	stop    context.CancelFunc // ends etcd
	etcd    errgroup.Group
	api     *process // nil: stopped
	manager *process // nil: stopped
}

// Start starts a server of the test's own and ends it with the test.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	s, err := start(tb.TempDir(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.end(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func start(dir string, o Options) (*Server, error) {
	bin, err := findBinary()
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, bin: bin, Plane: kubeapi.Plane{
		Dir: filepath.Join(dir, "kubeapi"), Listen: ports[0], Etcd: "http://" + ports[1].String(), PodCIDRs: o.PodCIDRs, Args: o.Args,
	}}
	if err := s.Write(); err != nil {
		return nil, err
	}
	if s.Client, err = kubeapi.NewClient(s.Admin()); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.etcd.Go(func() error {
		return lab.ServeEtcd(ctx, lab.EtcdConfig{Dir: filepath.Join(dir, "etcd"), Listen: s.Etcd, Quiet: true})
	})
	if err := s.run(); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

// run starts what is stopped and waits until the API server is ready.
func (s *Server) run() (err error) {
	if s.api == nil {
		if s.api, err = s.spawn("kube-apiserver", s.ServerArgs()); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := s.api.await(ctx, s.Ready); err != nil {
		return err
	}
	if s.options.Manager && s.manager == nil {
		s.manager, err = s.spawn("kube-controller-manager", s.ManagerArgs())
	}
	return err
}

// end stops all of it. That a server has ended before is an error.
func (s *Server) end() error {
	err := errors.Join(s.api.ended(), s.manager.ended())
	s.Kill()
	s.manager.kill()
	s.stop()
	return errors.Join(err, s.etcd.Wait())
}

// Kill ends the API server as a crash does, with all its connections.
func (s *Server) Kill() {
	s.api.kill()
	s.api = nil
}

// Restart starts a killed API server, on the same port with the same data, and
// waits until it is ready.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.run(); err != nil {
		tb.Fatal(err)
	}
}

// Pause stops the API server where it stands: connections stay open, and
// nothing answers.
func (s *Server) Pause(tb testing.TB) {
	tb.Helper()
	if err := s.api.pause(); err != nil {
		tb.Fatal(err)
	}
}

// Resume lets a paused API server go on.
func (s *Server) Resume(tb testing.TB) {
	tb.Helper()
	if err := s.api.resume(); err != nil {
		tb.Fatal(err)
	}
}

func findBinary() (string, error) {
	path := filepath.Join(os.Getenv("PERCALE_BIN"), kubeapi.Binary)
	if !filepath.IsAbs(path) {
		return "", errors.New("find kubeapi, the Kubernetes servers for tests: PERCALE_BIN is not set; run the tests by: make kubeapi test")
	}
	if _, err := exec.LookPath(path); err != nil {
		return "", fmt.Errorf("find kubeapi, the Kubernetes servers for tests: %w; make kubeapi builds it", err)
	}
	return path, nil
}

// freePorts returns different ports on loopback that nobody listens on.
func freePorts(n int) ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	for range n {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		defer l.Close()
		all = append(all, netip.MustParseAddrPort(l.Addr().String()))
	}
	return all, nil
}
