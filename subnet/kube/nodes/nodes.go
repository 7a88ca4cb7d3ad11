// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"log/slog"

	"k8s.io/client-go/rest"
)

// A Node is what is kept of a Node object. It is shared and must not be changed.
type Node struct {
	Name string
	UID  string // tells a Node from another one that bore its name before

	// Annotations are the wanted ones, of bounded size and number.
	Annotations map[string]string

	// Oversize are wanted annotations that are there but too large, or too many,
	// to be kept, with the size of their values in bytes. It is nil where there
	// are none, and bounded itself.
	Oversize map[string]int

	// PodCIDRs is spec.podCIDRs, else spec.podCIDR, as they stand there, bounded.
	// They are known only where Whole is true.
	PodCIDRs []string

	// Whole reports whether more than the metadata was read.
	Whole bool

	// Record reports whether this is what the Node's record says; see Records.
	Record bool
}

// A Snapshot is all Nodes at one moment. It is shared and must not be changed.
type Snapshot struct {
	Nodes map[string]Node // by name

	// Records are what the records say, whether that counts or not; nil where
	// there are none.
	Records map[string]Node

	// Omitted counts Nodes that are not in Nodes because there are too many, or
	// because their names are none; up to a thousand.
	Omitted int

	// Rewound is true in the first snapshot after the API server's history was
	// found to be another one than before, or to end earlier: its etcd was
	// restored from a backup, or replaced. It is what subnet.Snapshot.Rewound
	// means.
	Rewound bool
}

// A Condition is one of a Node's conditions, without its times, since the
// kubelet renews those every few minutes.
type Condition struct {
	Type, Status, Reason, Message string
}

// An Own is our own Node object, read whole.
type Own struct {
	Node
	Exists     bool        // all else is zero where it does not
	Labelled   bool        // it bears the label of Config.Records
	Conditions []Condition // in the server's order; bounded
}

// A Config says what to watch, and how.
type Config struct {
	// Client is how to reach the API server. Its rate limits are not used: there
	// are few requests, and each failure makes the next one wait longer.
	Client *rest.Config

	// Wanted reports whether to keep an annotation. It must be pure, and may be
	// called concurrently.
	Wanted func(key string) bool

	// NeedWhole reports whether the pod CIDRs of a Node are needed, by what its
	// metadata says; nil: never. It must be pure. Such a Node is passed on when
	// its pod CIDRs were asked for; until then it is passed on as it was before,
	// or not at all if it is new.
	NeedWhole func(Node) bool

	// Records says what stands for Nodes and is cheaper to watch; nil: nothing.
	Records *Records

	// Expect is how many Nodes there may be, as far as is known. The first
	// request is delayed at random by up to a millisecond for each, so that many
	// agents that start at once do not all ask at once; and a server that is away
	// is asked again the less often, the more there are.
	Expect int

	Log *slog.Logger // nil: none
}
