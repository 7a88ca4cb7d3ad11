// SPDX-License-Identifier: Apache-2.0

package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/subnet/ipam"
)

// A Holding is the addresses that an attachment has.
type Holding struct {
	Owner Owner
	Addrs []netip.Addr // in order
	Given time.Time    // when the newest of them was given
	Ours  bool         // percale-cni gave all of them, not another plugin that shares the directory
	Pod   string       // namespace/name, as the runtime said; "" if it did not
}

// An Oddity is a file among the addresses that makes no sense.
type Oddity struct{ Name, Why string }

// A Survey is all that a store holds.
type Survey struct {
	Holdings []Holding // in order of their first address
	Odd      []Oddity  // in order of name
	Freed    map[netip.Addr]time.Time
	Bounds   []ipam.Span // of what pods get; nil: anything of the node's subnets
}

// Dir returns where the store's files are.
func (s Store) Dir() string { return s.dir }

// Survey looks at everything in the store, by no lock: what comes and goes
// meanwhile may be in it or not.
func (s Store) Survey() (Survey, error) {
	names, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Survey{}, nil
	}
	if err != nil {
		return Survey{}, fmt.Errorf("list pod addresses: %w", err)
	}
	var v Survey
	held := make(map[Owner]*Holding)
	for _, e := range names {
		a, err := netip.ParseAddr(e.Name())
		switch {
		case err != nil && isBookkeeping(e.Name()):
		case err != nil || a.String() != e.Name() || a.Zone() != "":
			v.Odd = append(v.Odd, Oddity{e.Name(), "neither an address nor a file that is kept here"})
		default:
			if why := s.survey(a, held); why != "" {
				v.Odd = append(v.Odd, Oddity{e.Name(), why})
			}
		}
	}
	for _, h := range held {
		slices.SortFunc(h.Addrs, netip.Addr.Compare)
		s.consult(h)
		v.Holdings = append(v.Holdings, *h)
	}
	slices.SortFunc(v.Holdings, func(a, b Holding) int { return a.Addrs[0].Compare(b.Addrs[0]) })
	v.Freed, v.Bounds = s.freed(), s.bounds()
	return v, nil
}

// survey adds an address to its owner's holding; why not, if its file makes no
// sense. Such an address is in use all the same: nobody else gets it.
func (s Store) survey(a netip.Addr, held map[Owner]*Holding) (why string) {
	fi, err := os.Lstat(s.path(a))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil || !fi.Mode().IsRegular() {
		return "not a regular file"
	}
	own, err := s.owner(a)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ""
	case err != nil:
		return err.Error()
	case own.Container == "":
		return "empty: it does not say whose the address is"
	case own.Ifname != "" && own.Check() != nil:
		return own.Check().Error()
	case !validName(own.Container):
		return fmt.Sprintf("container id %.80q is none", own.Container)
	}
	h := held[own]
	if h == nil {
		h = &Holding{Owner: own}
		held[own] = h
	}
	h.Addrs = append(h.Addrs, a)
	if fi.ModTime().After(h.Given) {
		h.Given = fi.ModTime()
	}
	return ""
}

// consult adds what the index and the files themselves say of a holding.
func (s Store) consult(h *Holding) {
	old, _ := s.oldEntry(h.Owner)
	for _, line := range old {
		if name, ok := strings.CutPrefix(line, "pod "); ok && validPod(name) {
			h.Pod = name
		}
	}
	h.Ours = true
	for _, a := range h.Addrs {
		if _, err := os.Lstat(s.entryPath(h.Owner, a)); err != nil && !slices.Contains(old, a.String()) {
			h.Ours = false
		}
		h.Pod = cmp.Or(s.pod(a), h.Pod)
	}
}

// isBookkeeping reports whether a file here that is no address is one that
// percale-cni or host-local keeps.
func isBookkeeping(name string) bool {
	for _, known := range []string{"lock", "percale.", ".percale.", "last_reserved_ip."} {
		if name == known || strings.HasSuffix(known, ".") && strings.HasPrefix(name, known) {
			return true
		}
	}
	return false
}

// podAttr is the attribute of an address's file that names the pod
// (getfattr -n user.percale.pod).
const podAttr = "user.percale.pod"

// NotePod keeps the name of the pod that has the addresses, for people. Nothing
// depends on it, so that it cannot be kept is no error; neither is a name that
// is none.
func (s Store) NotePod(addrs []netip.Addr, namespace, name string) {
	pod := namespace + "/" + name
	if !validPod(pod) {
		return
	}
	for _, a := range addrs {
		_ = unix.Lsetxattr(s.path(a), podAttr, []byte(pod), 0)
	}
}

// pod is the inverse of NotePod; "" if there is no name, or none that is one.
func (s Store) pod(a netip.Addr) string {
	b := make([]byte, maxPod)
	n, err := unix.Lgetxattr(s.path(a), podAttr, b)
	if err != nil || !validPod(string(b[:n])) {
		return ""
	}
	return string(b[:n])
}

// maxPod bounds the name of a pod with its namespace, in bytes.
const maxPod = 512

func validPod(s string) bool {
	namespace, name, _ := strings.Cut(s, "/")
	return validName(namespace) && validName(name) && len(s) <= maxPod
}

// Reclaim frees all addresses of a holding, unless they have changed hands or
// were given anew since it was surveyed, or gone, which is asked while nobody
// can give addresses, says that the sandbox is there again. It returns whether
// it did.
func (s Store) Reclaim(ctx context.Context, h Holding, gone func() (bool, error)) (bool, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	for _, a := range h.Addrs {
		fi, err := os.Lstat(s.path(a))
		if errors.Is(err, fs.ErrNotExist) || err == nil && fi.ModTime().After(h.Given) {
			return false, nil
		}
		own, err := s.owner(a)
		if err != nil || own != h.Owner {
			return false, err
		}
	}
	if is, err := gone(); err != nil || !is {
		return false, err
	}
	s.noteFreed(h.Addrs, time.Now())
	for _, a := range h.Addrs {
		if err := os.Remove(s.path(a)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("release %s: %w", a, err)
		}
	}
	s.unindex(h.Owner)
	return true, nil
}

// Discard frees an address whose file makes no sense, and returns false if it
// is none such now.
func (s Store) Discard(ctx context.Context, a netip.Addr) (bool, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	if s.survey(a, make(map[Owner]*Holding)) == "" {
		return false, nil
	}
	if err := os.Remove(s.path(a)); err != nil {
		return false, fmt.Errorf("release %s: %w", a, err)
	}
	return true, nil
}

// freed returns when each address was freed that was so lately.
func (s Store) freed() map[netip.Addr]time.Time {
	f, err := os.Open(s.restPath())
	if err != nil {
		return nil
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil
	}
	return parseFreed(tail(f, fi.Size()))
}

// Stores returns the stores of all networks below dataDir ("" means DataDir),
// in order of name; none if it is not there.
func Stores(dataDir string) ([]Store, error) {
	dataDir = cmp.Or(dataDir, DataDir)
	names, err := os.ReadDir(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	var all []Store
	for _, e := range names {
		if s, err := NewStore(dataDir, e.Name()); err == nil && e.IsDir() {
			all = append(all, s)
		}
	}
	return all, nil
}

// Network returns the name of the store's network.
func (s Store) Network() string { return filepath.Base(s.dir) }
