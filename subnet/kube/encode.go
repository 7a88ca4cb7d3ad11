// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/percale-net/percale/subnet"
)

// encode returns the annotations by which a Node publishes a lease. One that is
// not among them is not to be there.
func (k keys) encode(l subnet.Lease, source string) map[string]string {
	out := map[string]string{
		k.manager:  yes,
		k.backend:  l.Backend,
		keySubnets: joinSubnets(l.Subnets()),
		keySource:  source,
	}
	put := func(e subnet.Endpoint, uplinkKey, dataKey, none string) {
		if !e.Subnet.IsValid() {
			return
		}
		out[dataKey], out[uplinkKey] = "null", none // as flannel says that there is none
		if e.Data != "" {
			out[dataKey] = e.Data
		}
		if e.Uplink.IsValid() {
			out[uplinkKey] = e.Uplink.String()
		}
	}
	put(l.V4, k.uplink4, k.data4, "0.0.0.0")
	put(l.V6, k.uplink6, k.data6, "::")
	return out
}

// change returns what of our annotations to set, and to remove (nil), to turn
// have into want. It is empty where they agree.
func (k keys) change(have, want map[string]string) map[string]*string {
	change := make(map[string]*string)
	for _, key := range k.published {
		old, there := have[key]
		text, wanted := want[key]
		switch {
		case wanted && (!there || old != text):
			change[key] = &text
		case !wanted && there:
			change[key] = nil
		}
	}
	return change
}

// patch returns a JSON merge patch (RFC 7396) of a Node's annotations and labels.
// The Node's uid in it makes the server refuse it where another Node has that
// name by now.
func patch(uid string, annotations, labels map[string]*string) ([]byte, error) {
	type metadata struct {
		UID         string             `json:"uid,omitempty"`
		Annotations map[string]*string `json:"annotations,omitempty"`
		Labels      map[string]*string `json:"labels,omitempty"`
	}
	b, err := json.Marshal(map[string]metadata{"metadata": {uid, annotations, labels}})
	if err != nil {
		return nil, fmt.Errorf("encode annotations %v: %w", slices.Sorted(maps.Keys(annotations)), err)
	}
	return b, nil
}
