// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"slices"
	"strings"
)

// Annotations that are ours alone, whatever the prefix of flannel's.
const (
	keySubnets = "percale.io/subnets"       // a comma list, at most one of each family
	keySource  = "percale.io/subnet-source" // where they are from: one of the sources
)

// labelRecord is the label of Nodes that have a record, and of records.
const labelRecord = "percale.io/record"

// Values of keySource.
const (
	sourceCluster = "podCIDR" // from spec.podCIDRs
	sourceLease   = "lease"   // the node chose them, and has Lease objects for them
	sourceKept    = "kept"    // so, but only because pods live there: the node waits for a pod CIDR
)

// yes is the value by which a Node says that it takes part.
const yes = "true"

// keys are the names of flannel's annotations, with their prefix.
type keys struct {
	manager, backend    string
	data4, data6        string
	uplink4, uplink6    string
	overwrite4, public4 string
	overwrite6, public6 string
	published           []string // all that we write
}

// newKeys returns the names under a prefix: "x.y" and "x.y/" make "x.y/name",
// "x.y/z" and "x.y/z-" make "x.y/z-name".
func newKeys(prefix string) (keys, error) {
	switch strings.Count(prefix, "/") {
	case 0:
		prefix += "/"
	case 1:
		if !strings.HasSuffix(prefix, "/") && !strings.HasSuffix(prefix, "-") {
			prefix += "-"
		}
	default:
		return keys{}, fmt.Errorf("--kube-annotation-prefix %.60q: want at most one slash, as in flannel.alpha.coreos.com", prefix)
	}
	k := keys{
		manager:    prefix + "kube-subnet-manager",
		backend:    prefix + "backend-type",
		data4:      prefix + "backend-data",
		data6:      prefix + "backend-v6-data",
		uplink4:    prefix + "public-ip",
		uplink6:    prefix + "public-ipv6",
		overwrite4: prefix + "public-ip-overwrite",
		overwrite6: prefix + "public-ipv6-overwrite",
		public4:    prefix + "node-public-ip",
		public6:    prefix + "node-public-ipv6",
	}
	k.published = []string{k.manager, k.backend, k.data4, k.data6, k.uplink4, k.uplink6, keySubnets, keySource}
	return k, nil
}

// Keys returns the annotations that hold a node's lease, given the prefix of
// flannel's; none where it is no prefix.
func Keys(prefix string) []string {
	k, err := newKeys(prefix)
	if err != nil {
		return nil
	}
	return k.published
}

// lease reports whether an annotation is of a lease: one that all nodes read.
func (k keys) lease(key string) bool { return slices.Contains(k.published, key) }

// wanted reports whether an annotation of our own Node is of use to us.
func (k keys) wanted(key string) bool {
	switch key {
	case k.overwrite4, k.overwrite6, k.public4, k.public6:
		return true
	}
	return k.lease(key)
}
