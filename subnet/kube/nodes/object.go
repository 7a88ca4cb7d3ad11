// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// An object is a Node or its metadata as it came, in parts of the encoded one:
// nothing is copied before it is known to be wanted. Its metadata has the same
// place in both.
type object struct {
	name, uid, version []byte
	owner              owner // the last one
	labels             []pair
	annotations        []pair
	cidr               []byte // spec.podCIDR
	cidrs              [][]byte
	conditions         []condition
}

type pair struct{ key, value []byte }

type condition struct{ typ, status, reason, message []byte }

// decode reads a Node or PartialObjectMetadata, which it overwrites o with.
func (o *object) decode(msg []byte) error {
	*o = object{labels: o.labels[:0], annotations: o.annotations[:0], cidrs: o.cidrs[:0], conditions: o.conditions[:0]}
	return fields(msg, func(num protowire.Number, val []byte) error {
		switch num {
		case 1:
			return o.metadata(val)
		case 2:
			return o.spec(val)
		case 3:
			return o.status(val)
		}
		return nil
	})
}

// metadata reads an ObjectMeta.
func (o *object) metadata(msg []byte) error {
	return fields(msg, func(num protowire.Number, val []byte) error {
		switch num {
		case 1:
			o.name = val
		case 5:
			o.uid = val
		case 6:
			o.version = val
		case 11:
			p, err := decodePair(val)
			o.labels = append(o.labels, p)
			return err
		case 12:
			p, err := decodePair(val)
			o.annotations = append(o.annotations, p)
			return err
		case 13:
			var err error
			o.owner, err = decodeOwner(val)
			return err
		}
		return nil
	})
}

// decodePair reads one entry of a map of texts.
func decodePair(msg []byte) (p pair, err error) {
	err = fields(msg, func(num protowire.Number, val []byte) error {
		switch num {
		case 1:
			p.key = val
		case 2:
			p.value = val
		}
		return nil
	})
	return p, err
}

// spec reads a NodeSpec.
func (o *object) spec(msg []byte) error {
	return fields(msg, func(num protowire.Number, val []byte) error {
		switch num {
		case 1:
			o.cidr = val
		case 7:
			if len(o.cidrs) <= maxCIDRs {
				o.cidrs = append(o.cidrs, val)
			}
		}
		return nil
	})
}

// status reads a NodeStatus.
func (o *object) status(msg []byte) error {
	return fields(msg, func(num protowire.Number, val []byte) error {
		if num != 4 || len(o.conditions) >= maxConditions {
			return nil
		}
		c, err := decodeCondition(val)
		o.conditions = append(o.conditions, c)
		return err
	})
}

// decodeCondition reads a NodeCondition.
func decodeCondition(msg []byte) (c condition, err error) {
	err = fields(msg, func(num protowire.Number, val []byte) error {
		switch num {
		case 1:
			c.typ = val
		case 2:
			c.status = val
		case 5:
			c.reason = val
		case 6:
			c.message = val
		}
		return nil
	})
	return c, err
}
