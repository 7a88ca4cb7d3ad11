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
	Own     Own       // what else is said of our node; zero where a store keeps leases only

	// OwnLost is true in the first snapshot after Publish has found missing what
	// it had published before: it may be there again, so that only this tells.
	OwnLost bool

	// Rewound is true in the first snapshot after the store's history was found
	// to be another one than before, or to end earlier: it was restored from a
	// backup, or replaced. What it holds may be outdated; see Belief.
	Rewound bool
}

// ErrTaken says that another node holds a subnet that Publish was asked to
// make ours: somebody was faster. The cure is to choose another one.
var ErrTaken = errors.New("subnet is taken by another node")

// ErrNameClash says that another node runs under our node name: our entry, as
// this process has published it, was since made to say another uplink, one that
// this process never published. Two such nodes would overwrite each other for
// ever, so the one that notices yields. The cure is to give one of the two
// another --node-name and to restart the other one, which then publishes anew:
// the first Publish of a process takes an entry with its name over, since the
// address may have changed while it was down.
var ErrNameClash = errors.New("another node runs under our node name")

// A Store keeps the cluster's leases. It translates and watches; what to lease
// is decided by Choose. All methods may be called concurrently, block, and
// return ctx's error when it ends.
type Store interface {
	// Watch passes whole snapshots, never deltas, to fn until ctx ends; fn is
	// not called concurrently. It first calls fn when it knows every lease: an
	// empty snapshot means "no leases", never "not known yet". What goes wrong
	// is retried inside and told through fail, from the same goroutine as fn:
	// once, and again only when something else goes wrong, with another text;
	// then nil, once, when all is well again.
	Watch(ctx context.Context, fn func(Snapshot), fail func(error)) error

	// Publish makes the store hold own, creating or changing as little as it
	// takes, and renews it. It never changes an entry that another node holds:
	// that is ErrTaken; nor does it fight over our own: see ErrNameClash. It
	// may be repeated at will, and writes nothing that
	// peers would see when own is published already. It returns when the lease
	// ends unless it is renewed; the zero time means never.
	Publish(ctx context.Context, own Lease) (expires time.Time, err error)

	// Release deletes our entry for the subnets of own, and nothing that
	// another node holds. An absent entry is success.
	Release(ctx context.Context, own Lease) error
}
