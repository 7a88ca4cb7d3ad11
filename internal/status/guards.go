// SPDX-License-Identifier: Apache-2.0

package status

// Guards say how pods are kept honest, and strangers out of the tunnel.
type Guards struct {
	Tunnel  string            `json:"tunnel,omitempty"`  // "on", or why it is not
	Origins int               `json:"origins"`           // pairs of peer and subnet that tunnel packets are taken of
	Refused uint64            `json:"refused"`           // tunnel packets that were dropped, since the rules were written
	Pods    int               `json:"pods"`              // guarded
	Dropped map[string]uint64 `json:"dropped,omitempty"` // packets of pods that were dropped, by why, likewise
	Repairs
}

// Sum returns how many packets of pods were dropped.
func (g Guards) Sum() (n uint64) {
	for _, k := range g.Dropped {
		n += k
	}
	return n
}
