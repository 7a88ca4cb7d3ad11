// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/kernel"
)

// Without forwarding pods reach nobody; without other settings they do.
func TestPartSysctls(t *testing.T) {
	t.Parallel()
	a := &Agent{settings: config.Settings{SysctlDir: "/proc/sys"}}
	fail := func(entry any, err error) error { return &kernel.EntryError{Op: "set", Entry: entry, Err: err} }
	readOnly := &fs.PathError{Op: "open", Path: "/proc/sys/x", Err: syscall.EROFS}
	route := fail(network.Route{}, syscall.EPERM)
	forwarding, settings, others := a.partSysctls(errors.Join(
		fail(network.Sysctl{Path: forward4}, readOnly), route,
		errors.Join(fail(network.Sysctl{Path: acceptRA("flannel.1")}, syscall.EPERM)),
	))
	for text, want := range map[string]string{
		forwarding.Error(): "Packets of pods go nowhere until then. In a container, mount",
		settings.Error():   "Pods work all the same",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q; want %q in it", text, want)
		}
	}
	if strings.Contains(forwarding.Error(), "accept_ra") || strings.Contains(settings.Error(), "--sysctl-dir") || others.Error() != route.Error() {
		t.Errorf("parted into %q, %q and %q; want each of its own", forwarding, settings, others)
	}
	if f, s, o := a.partSysctls(nil); f != nil || s != nil || o != nil {
		t.Errorf("of no error: %v, %v, %v; want nothing", f, s, o)
	}
}
