// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Records are Lease objects that stand for Nodes. A kubelet renews its Node
// every few minutes and whenever an image or a condition changes, and the API
// server then sends the Node's metadata to all who watch: some 2 KB, most of
// which says who wrote which field. A record is sent when its agent has news,
// and at no other time, so that a cluster where all nodes have records is quiet.
//
// The record of a Node is the Lease object RecordName(name) with that Node in
// its ownerReferences, so that it goes with it, and with all annotations that
// others shall read. Who publishes one writes the record first and then the label
// on its Node, and takes them back in the other order. The Node says the same,
// and is the truth: a Node that is seen without the label counts, and not its
// record. The Nodes with the label are looked at too from time to time, by their
// metadata, and where one says something else than its record twice in a row, or
// has none, it counts; so it does after one look, made at once, where two records
// contradict each other. A Node that is seen nowhere any more is kept for some
// seconds, since the API server tells of Nodes and records in no certain order.
type Records struct {
	Namespace string // where they are

	// Label is the key of the label that records bear, and the Nodes that have
	// one, with any value. Nodes that bear it are not watched.
	Label string

	// Every is how often the Nodes that bear it are looked at, about; 0: every ten
	// minutes. The first look is soon after the start, and those in doubt are
	// looked at again after a tenth of it.
	Every time.Duration
}

const recordPrefix = "node-"

// RecordName returns the name of a Node's record, and "" for a Node whose name
// is too long to have one.
func RecordName(node string) string {
	if len(recordPrefix)+len(node) > maxName {
		return ""
	}
	return recordPrefix + node
}

// An owner is an OwnerReference.
type owner struct{ kind, name, uid, api []byte }

func decodeOwner(msg []byte) (o owner, err error) {
	err = fields(msg, func(num protowire.Number, val []byte) error {
		switch num {
		case 1:
			o.kind = val
		case 3:
			o.name = val
		case 4:
			o.uid = val
		case 5:
			o.api = val
		}
		return nil
	})
	return o, err
}

// asNode makes of a record's metadata that of its Node. It reports whether the
// record is one, under the name that only that Node's agent may write.
func (o *object) asNode() bool {
	if string(o.owner.kind) != "Node" || string(o.owner.api) != "v1" || RecordName(string(o.owner.name)) != string(o.name) {
		return false
	}
	o.name, o.uid = o.owner.name, o.owner.uid
	return true
}
