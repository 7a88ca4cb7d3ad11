// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/percale-net/percale/internal/cnifiles"
	"github.com/percale-net/percale/internal/reconcile"
	"github.com/percale-net/percale/internal/status"
)

// partCNI is what the CNI configuration's problems are told of under.
const partCNI = "cni"

// cniFiles are what the loop of that name shares with others.
type cniFiles struct {
	loop  *reconcile.Loop
	notes atomic.Pointer[[]string] // what it has the operator know
	wrote time.Time                // when a file was changed last; the loop's alone
}

// cniRest is the least time between two changes, so that somebody who undoes
// each at once does not keep us, and the disk, busy.
const cniRest = time.Second

// keepCNI keeps the CNI configuration until ctx ends, if it is ours to keep. It
// does so from the start on, as others that would win are told of before the
// node is ready.
func (a *Agent) keepCNI(ctx context.Context) error {
	if a.settings.CNIConfDir == "" {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.watch(ctx, "CNI directory events", a.watchCNI) })
	group.Go(func() error { return a.cni.loop.Run(ctx) })
	return group.Wait()
}

func (a *Agent) watchCNI(ctx context.Context) error {
	dir := a.settings.CNIConfDir
	if err := watchFile(ctx, dir+"/", a.cni.loop.Kick); err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	return nil
}

// cniRound makes the container runtime use our plugin, once the node is ready;
// until then pods would fail. What it wrote stays when the node is not ready any
// more: then the plugin tells why a pod must wait.
func (a *Agent) cniRound(context.Context) (time.Duration, error) {
	dir, again := cnifiles.Dir(a.settings.CNIConfDir), period
	var err error
	if a.board.Status().Ready {
		if again = cniRest - time.Since(a.cni.wrote); again <= 0 {
			again, err = period, a.writeCNI(dir)
		}
	}
	rivals, rerr := dir.Rivals()
	notes, beaten := tellRivals(a.settings.CNIConfDir, rivals)
	a.cni.notes.Store(&notes)
	err = errors.Join(err, rerr)
	a.report(func(s *status.Status) { s.Fault(partCNI, errors.Join(err, beaten), time.Now()) })
	return again, err
}

// writeCNI puts our configuration into a directory, and others out of its way if
// that is wanted. These go last, so that there is one at any time.
func (a *Agent) writeCNI(dir cnifiles.Dir) error {
	wrote, err := dir.Write(a.settings.CNIConfFile)
	if err != nil {
		return err
	}
	if wrote {
		a.cni.wrote = time.Now()
		a.log.Info("CNI configuration written", "dir", dir, "file", cnifiles.Name)
	}
	if !a.settings.CNIConfExclusive {
		return nil
	}
	rivals, err := dir.Rivals()
	if err != nil || len(rivals) == 0 {
		return err
	}
	a.cni.wrote = time.Now()
	if err := dir.SetAside(rivals); err != nil {
		return err
	}
	for _, r := range rivals {
		a.log.Warn("CNI configuration set aside", "dir", dir, "file", r.Name, "why", r.String())
	}
	return nil
}

// tellRivals tells of configurations that win over ours: those that give pods
// addresses of this node are worth a note, others are a problem.
func tellRivals(dir string, rivals []cnifiles.Rival) (notes []string, problem error) {
	var texts []string
	for _, r := range rivals {
		text := r.String() + ": " + r.Remedy(dir)
		if r.Serves() {
			notes = append(notes, text)
		} else {
			texts = append(texts, text)
		}
	}
	if texts != nil {
		problem = errors.New("the container runtime takes another CNI configuration than ours: " + strings.Join(texts, "; ") +
			"; or start percaled with --cni-conf-exclusive")
	}
	return notes, problem
}

// cniNotes returns what the last look at the CNI configurations has the operator
// know.
func (a *Agent) cniNotes() []string {
	if notes := a.cni.notes.Load(); notes != nil {
		return *notes
	}
	return nil
}

// cniFiles removes our CNI configuration, if there was one to keep.
func (c *cleaner) cniFiles() error {
	if c.settings.CNIConfDir == "" {
		return nil
	}
	removed, aside, err := cnifiles.Dir(c.settings.CNIConfDir).Remove()
	for _, path := range removed {
		c.say("removed %s", path)
	}
	for _, path := range aside {
		c.say("left %s, which came before ours and was set aside; to have it back: mv %q %q", path, path, cnifiles.WasCalled(path))
	}
	if err != nil {
		return fmt.Errorf("remove our CNI configuration: %w", err)
	}
	return nil
}
