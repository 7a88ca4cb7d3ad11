// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
)

// A Lab is a set of nodes on this machine. Its methods may be called
// concurrently, but one node's from one goroutine at a time.
type Lab struct {
	mu  sync.Mutex
	rec record
}

// ErrUp says that Up found a whole lab of that name. The cure is Down, or
// another name.
var ErrUp = errors.New("lab is up already")

// Up builds a lab and returns when every agent holds every peer and every pod
// is wired. Whatever an interrupted Up left behind is removed first; when this
// one fails or ctx ends, it removes what it made.
func Up(ctx context.Context, spec Spec) (*Lab, error) {
	if err := spec.fill(); err != nil {
		return nil, err
	}
	if old, err := load(spec.Name); err == nil && old.Ready {
		return nil, fmt.Errorf("lab %s: %w; percale-lab --name %s down removes it", spec.Name, ErrUp, spec.Name)
	}
	lock, err := lockDir(dirOf(spec.Name))
	if err != nil {
		return nil, err
	}
	defer lock.unlock()
	if err := sweep(ctx, spec.Name); err != nil {
		return nil, fmt.Errorf("remove what is left of lab %s: %w", spec.Name, err)
	}
	l := &Lab{rec: record{Spec: spec, Processes: make(map[string]Process)}}
	if err := l.build(ctx); err != nil {
		err = fmt.Errorf("build lab %s: %w", spec.Name, err)
		return nil, errors.Join(err, remove(context.WithoutCancel(ctx), spec.Name))
	}
	return l, nil
}

func (l *Lab) build(ctx context.Context) error {
	if err := l.buildSwitches(ctx); err != nil {
		return err
	}
	if err := l.startStore(ctx); err != nil {
		return err
	}
	for range l.spec().Nodes {
		if _, err := l.AddNode(ctx); err != nil {
			return err
		}
	}
	if !l.spec().NoWait {
		if err := l.populate(ctx); err != nil {
			return err
		}
	}
	return l.update(func(r *record) { r.Ready = true })
}

// populate waits for the agents and makes the pods, on all nodes at once.
func (l *Lab) populate(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range l.Nodes() {
		g.Go(func() error {
			for k := range l.spec().Networks {
				if err := n.Agent(k).WaitReady(ctx, l.spec().Nodes-1); err != nil {
					return err
				}
				for range l.spec().Pods {
					if _, err := n.AddPod(ctx, k); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// Open returns the lab of that name, which is up.
func Open(name string) (*Lab, error) {
	rec, err := load(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open lab %s: there is none; percale-lab up makes it", name)
	}
	if err != nil {
		return nil, err
	}
	if !rec.Ready {
		return nil, fmt.Errorf("open lab %s: it is not whole; percale-lab down removes it", name)
	}
	return &Lab{rec: rec}, nil
}

// Down removes the lab of that name: every process in it, its namespaces and
// files. A lab that does not exist is success.
func Down(ctx context.Context, name string) error {
	if _, err := os.Stat(dirOf(name)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := lockDir(dirOf(name))
	if err != nil {
		return err
	}
	defer lock.unlock()
	return remove(ctx, name)
}

func remove(ctx context.Context, name string) error {
	if err := sweep(ctx, name); err != nil {
		return fmt.Errorf("remove lab %s: %w", name, err)
	}
	return removeDir(name)
}

// Down removes the lab.
func (l *Lab) Down(ctx context.Context) error { return Down(ctx, l.Name()) }

// Name returns the lab's name.
func (l *Lab) Name() string { return l.rec.Spec.Name }

// Spec returns what the lab was asked to be, defaults filled in.
func (l *Lab) Spec() Spec { return l.rec.Spec }

func (l *Lab) spec() Spec  { return l.rec.Spec }
func (l *Lab) dir() string { return dirOf(l.Name()) }

// Switch returns the namespace of the switches, where etcd runs too.
func (l *Lab) Switch() netns.NS { return netns.Named(switchNS(l.Name())) }

// LogPath returns the file that holds what a process of the lab printed.
func (l *Lab) LogPath(role string) string { return filepath.Join(l.dir(), role+".log") }

// start starts a process of the lab and writes it down.
func (l *Lab) start(ns netns.NS, role string, argv []string) error {
	p, err := spawn(ns, l.LogPath(role), argv)
	if err != nil {
		return err
	}
	return l.update(func(r *record) { r.Processes[role] = p })
}

// kill ends a process of the lab at once. One that does not run is success.
func (l *Lab) kill(ctx context.Context, role string) error {
	return l.process(role).signal(ctx, unix.SIGKILL)
}

func (l *Lab) process(role string) Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rec.Processes[role]
}

// await calls check until it succeeds. It gives up when the process that is to
// make it succeed has ended, or ctx has, and then shows what that process last
// said.
func (l *Lab) await(ctx context.Context, role string, check func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var why error
	for {
		err := check()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil { // else it may fail for that reason alone
			why = err
		}
		if !l.process(role).Running() {
			return fmt.Errorf("wait for %s: it has ended: %s", role, tail(l.LogPath(role)))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w: %s", role, ctx.Err(), why, tail(l.LogPath(role)))
		case <-tick.C:
		}
	}
}

// tail returns the last lines of a log.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(string(bytes.TrimSpace(b)), "\n")
	return "\n" + strings.Join(lines[max(0, len(lines)-8):], "\n")
}
