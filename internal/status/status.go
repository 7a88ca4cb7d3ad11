// SPDX-License-Identifier: Apache-2.0

// Package status is what the agent reports about itself: plain values that the
// loops fill in, and that the web server, the command line and metrics all
// show. The JSON form is stable: fields are added, never renamed.
package status

import (
	"net/netip"
	"time"

	"github.com/percale-net/percale/subnet"
)

// A Status is the agent's state at one moment. The peers, which may be many,
// are apart, in Peers.
type Status struct {
	Node    string    `json:"node"`
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`

	Goroutines  int    `json:"goroutines"`  // when asked
	MemoryBytes uint64 `json:"memoryBytes"` // that the Go runtime holds of the kernel's, when asked

	Ready   bool   `json:"ready"`
	Waiting string `json:"waiting,omitempty"` // why it is not ready

	Backend  string         `json:"backend,omitempty"`
	Subnets  []netip.Prefix `json:"subnets"`          // leased, at most one per family
	Expires  time.Time      `json:"expires,omitzero"` // when the lease ends unless renewed; zero: never
	Uplink   Uplink         `json:"uplink"`           // zero before it was chosen
	Devices  []Device       `json:"devices"`          // ours
	Told     []netip.Prefix `json:"told"`             // the subnets that new pods get addresses in, as CNI plugins were told last
	PodMTU   int            `json:"podMTU,omitempty"` // bytes, idem
	Sysctls  []string       `json:"sysctls"`          // the kernel settings that we keep, as "net/ipv4/ip_forward=1"
	Peers    PeerCount      `json:"peers"`
	Refused  []Refusal      `json:"refused"` // leases that are not believed
	Store    Store          `json:"store"`
	Kernel   Rounds         `json:"kernel"` // links, addresses, routes, neighbors, FDB, sysctls
	Firewall Firewall       `json:"firewall"`
	Guards   Guards         `json:"guards"`
	Problems []Problem      `json:"problems"` // what is wrong now
	Notes    []string       `json:"notes"`    // what the operator may want to know; nothing is wrong

	Kubernetes Kubernetes `json:"kubernetes,omitzero"` // zero with etcd

	Addresses []Addresses `json:"addresses,omitempty"` // of pods, for each of our subnets; none: not known yet
}

// A Refusal is a lease that is left out, and why.
type Refusal = subnet.Refusal

// An Uplink is the underlay in use.
type Uplink struct {
	Name      string       `json:"name,omitempty"`
	Addresses []netip.Addr `json:"addresses,omitempty"` // ours on it
	Published []netip.Addr `json:"published,omitempty"` // what peers are told
	MTU       int          `json:"mtu,omitempty"`       // bytes
	Why       string       `json:"why,omitempty"`
}

// A Device is an overlay device of ours.
type Device struct {
	Name string `json:"name"`
	VNI  int    `json:"vni"`
	Port int    `json:"port"`
	MAC  string `json:"mac"`
	MTU  int    `json:"mtu"`
}

// A PeerCount says how far the peers have come.
type PeerCount struct {
	Wanted     int `json:"wanted"`     // leases of others that are believed
	Programmed int `json:"programmed"` // of these, complete in the kernel
}

// The kinds of Store.
const (
	Etcd = "etcd"
	Kube = "kube" // annotations of Kubernetes Nodes
)

// A Store is the source of leases.
type Store struct {
	Kind   string    `json:"kind"`             // Etcd or Kube
	Synced bool      `json:"synced"`           // every lease is known
	Cached bool      `json:"cached,omitempty"` // it has not answered yet: leases are those of the last run
	At     time.Time `json:"at,omitzero"`      // of the newest snapshot
	Error  string    `json:"error,omitempty"`  // "" while connected

	AwaySince time.Time `json:"awaySince,omitzero"` // with Error: leases may be as old as this
}

// Where our subnets are from, in the words of our Node's annotation.
const (
	FromPodCIDR = "podCIDR" // the cluster assigned them
	FromLease   = "lease"   // this node chose them, and holds Lease objects for them
	FromBefore  = "kept"    // pods live in them; it is not known yet who gives others
)

// A Kubernetes is what the cluster has of our node.
type Kubernetes struct {
	Source     string      `json:"subnetSource,omitempty"` // one of From…; "": not known yet
	Conditions []Condition `json:"conditions,omitempty"`   // that we keep, as our Node bore them when we heard of it last
}

// A Condition is one of our Node.
type Condition struct {
	Type   string `json:"type"`
	Status string `json:"status"` // True, False or Unknown
	Reason string `json:"reason,omitempty"`
}

// Rounds counts the work of one loop.
type Rounds struct {
	Count      int           `json:"rounds"`
	Last       time.Time     `json:"last,omitzero"`
	Took       time.Duration `json:"tookNanoseconds"` // the last round
	Writes     uint64        `json:"writes"`          // kernel changes asked for since start
	LastRepair Repair        `json:"lastRepair,omitzero"`
	Repairs
}

// A Repair is a change of the kernel made when no wish had changed: somebody
// or something had undone ours.
type Repair struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
}

// A Firewall is the renderer of our rules.
type Firewall struct {
	Mode   string `json:"mode,omitempty"` // nftables or iptables
	InSync bool   `json:"inSync"`
	Rounds
}

// Addresses is how far the pod addresses of one of our subnets are used.
type Addresses struct {
	Subnet  netip.Prefix  `json:"subnet"`
	Used    uint64        `json:"used"`
	Total   uint64        `json:"total"`           // that pods can have
	Stale   uint64        `json:"stale"`           // of the used: by sandboxes that no longer exist
	Resting uint64        `json:"resting"`         // of the free: freed within the last 30 seconds
	FullAt  time.Time     `json:"fullAt,omitzero"` // at the present rate; zero: not in sight
	Users   []AddressUser `json:"users,omitempty"` // the biggest, at most three
}

// An AddressUser is a namespace of pods, or a container.
type AddressUser struct {
	Name      string `json:"name"`
	Addresses int    `json:"addresses"`
}

// A Problem is something wrong: what was seen, and since when.
type Problem struct {
	Part  string    `json:"part"` // uplink, lease, kernel, firewall, store …
	Seen  string    `json:"seen"` // with the remedy where there is one
	Since time.Time `json:"since"`
}

// A Peer is another node as we reach it.
type Peer struct {
	Node       string         `json:"node"`
	Subnets    []netip.Prefix `json:"subnets"`
	Uplinks    []netip.Addr   `json:"uplinks"`
	Backend    string         `json:"backend"`
	Path       string         `json:"path"` // "tunnel", "direct", "none"
	Programmed bool           `json:"programmed"`
	Error      string         `json:"error,omitempty"`
}
