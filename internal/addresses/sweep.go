// SPDX-License-Identifier: Apache-2.0

package addresses

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/subnet/ipam"
	"github.com/percale-net/percale/subnet/local"
)

// How long a sandbox must be gone before nobody need be asked. Runtimes and
// kubelets give up an ADD after four minutes at most.
const (
	sweepGrace = 10 * time.Minute // since its address was given
	sweepApart = 5 * time.Minute  // between the first look that found it gone and the last
)

// freeTimeout bounds the wait for the lock of a store.
const freeTimeout = 20 * time.Second

// A Sweeper frees, look by look, the addresses of sandboxes that are gone. Of
// all stores it takes those that percale-cni has noted in RunDir as being of the
// namespace that Host is in, which must be the caller's. It may not be used
// concurrently.
type Sweeper struct {
	RunDir string
	Host   *kernel.Conn
	Off    bool // look alone

	grace, apart time.Duration // 0: as above; tests have less
	sweep        ipam.Sweep[key]
}

// A key names what may not change between two looks.
type key struct {
	dir   string
	own   local.Owner
	given int64
}

// A Round is what one look of a Sweeper found and did.
type Round struct {
	View
	Known bool         // there are notes of stores: else the View says nothing
	Freed []Attachment // not in the View
}

// Round looks, and frees what is due at now. What could not be freed is tried
// again by the next one; the others are freed all the same.
func (s *Sweeper) Round(ctx context.Context) (Round, error) {
	here, err := local.Here()
	if err != nil {
		return Round{}, err
	}
	noted, err := local.Noted(s.RunDir, here)
	if err != nil || len(noted) == 0 {
		return Round{}, err
	}
	var stores []local.Store
	for _, n := range noted {
		stores = append(stores, n.Store)
	}
	v, err := Look(ctx, s.Host, stores, func(local.Store) bool { return true })
	if err != nil {
		return Round{}, err
	}
	r := Round{View: v, Known: true}
	if s.Off {
		return r, nil
	}
	var errs []error
	for _, a := range s.due(v) {
		freed, err := s.free(ctx, a)
		if err != nil {
			errs = append(errs, fmt.Errorf("free the addresses of container %s, which is gone: %w", Short(a.Owner.Container), err))
		}
		if freed {
			r.Freed = append(r.Freed, a)
		}
	}
	if r.Freed != nil {
		r.View = v.without(r.Freed)
	}
	return r, errors.Join(errs...)
}

func (s *Sweeper) due(v View) []Attachment {
	grace, apart := sweepGrace, sweepApart
	if s.apart != 0 {
		grace, apart = s.grace, s.apart
	}
	byKey := make(map[key]Attachment)
	var gone []key
	for _, a := range v.Gone(grace) {
		k := key{a.Store.Dir(), a.Owner, a.Given.UnixNano()}
		byKey[k] = a
		gone = append(gone, k)
	}
	var due []Attachment
	for _, k := range s.sweep.Look(gone, v.At, apart) {
		due = append(due, byKey[k])
	}
	return due
}

func (s *Sweeper) free(ctx context.Context, a Attachment) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, freeTimeout)
	defer cancel()
	return Free(ctx, s.Host, a)
}

// without returns v as it is after some were freed.
func (v View) without(freed []Attachment) View {
	is := make(map[key]bool)
	for _, a := range freed {
		is[key{a.Store.Dir(), a.Owner, 0}] = true
	}
	var rest []Attachment
	for _, a := range v.Attachments {
		if !is[key{a.Store.Dir(), a.Owner, 0}] {
			rest = append(rest, a)
			continue
		}
		for _, addr := range a.Addrs {
			v.Freed[addr] = v.At
		}
	}
	v.Attachments = rest
	return v
}
