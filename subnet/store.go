// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"context"
	"errors"
	"time"
)

// A Snapshot is all that a store holds at one moment.
type Snapshot struct {
	Leases  []Lease   // whole, our own among them; in order of subnet
	Refused []Refusal // entries that could not be read
}

// ErrTaken says that another node holds a subnet that Publish was asked to
// make ours: somebody was faster. The cure is to choose another one.
var ErrTaken = errors.New("subnet is taken by another node")

// A Store keeps the cluster's leases. It translates and watches; what to lease
// is decided by Choose. All methods may be called concurrently, block, and
// return ctx's error when it ends.
type Store interface {
	// Watch passes whole snapshots, never deltas, to fn until ctx ends; fn is
	// not called concurrently. It first calls fn when it knows every lease: an
	// empty snapshot means "no leases", never "not known yet". What goes wrong
	// is retried inside and told through fail (nil: all is well again), which
	// is called from the same goroutine as fn.
	Watch(ctx context.Context, fn func(Snapshot), fail func(error)) error

	// Publish makes the store hold own, creating or changing as little as it
	// takes, and renews it. It never changes an entry that another node holds:
	// that is ErrTaken. It may be repeated at will, and writes nothing that
	// peers would see when own is published already. It returns when the lease
	// ends unless it is renewed; the zero time means never.
	Publish(ctx context.Context, own Lease) (expires time.Time, err error)

	// Release deletes our entry for the subnets of own, and nothing that
	// another node holds. An absent entry is success.
	Release(ctx context.Context, own Lease) error
}
