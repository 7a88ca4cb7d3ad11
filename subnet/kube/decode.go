// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

const (
	maxDataBytes = 4 << 10 // of one backend's data; an honest one has below 100
	maxTypeBytes = 63      // of a backend's name
)

// nodeName is what the API server lets a Node be called: a DNS subdomain.
var nodeName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// needWhole reports whether a Node's subnet can be read from its spec alone:
// flannel's agents do not publish it.
func (k keys) needWhole(n nodes.Node) bool {
	_, told := n.Annotations[keySubnets]
	return n.Annotations[k.manager] == yes && !told && n.Oversize[keySubnets] == 0
}

// decode returns the lease that a Node publishes; the zero Lease if none. Each
// family stands alone: what is wrong in one is refused, with why, and does not
// hurt the other.
func (k keys) decode(n nodes.Node) (subnet.Lease, []subnet.Refusal) {
	d := decoder{keys: k, node: n}
	return d.lease(), d.refused
}

func (d *decoder) lease() subnet.Lease {
	n, k := d.node, d.keys
	if n.Annotations[k.manager] != yes {
		return subnet.Lease{}
	}
	if !nodeName.MatchString(n.Name) {
		d.node.Name = fmt.Sprintf("%.64q", n.Name)
		d.refuse("metadata.name", "a name that no Node can have; a DNS subdomain would be right")
		return subnet.Lease{}
	}
	l := subnet.Lease{Node: n.Name, Backend: d.backend()}
	for _, s := range d.subnets() {
		if s.Addr().Is4() {
			l.V4 = d.endpoint(s, k.uplink4, k.data4)
		} else {
			l.V6 = d.endpoint(s, k.uplink6, k.data6)
		}
	}
	if len(l.Subnets()) == 0 {
		return subnet.Lease{}
	}
	return l
}

// A decoder reads one Node's annotations.
type decoder struct {
	keys
	node    nodes.Node
	own     bool // it is our Node: its pods may live in what was assigned before
	refused []subnet.Refusal
}

func (d *decoder) refuse(key, format string, args ...any) {
	d.refused = append(d.refused, subnet.Refusal{Lease: key, Node: d.node.Name, Reason: fmt.Sprintf(format, args...)})
}

// text returns an annotation, and false where it is too large to be read.
func (d *decoder) text(key string, most int) (string, bool) {
	text := d.node.Annotations[key]
	if size := max(d.node.Oversize[key], len(text)); size > most {
		d.refuse(key, "%d bytes; at most %d would be right", size, most)
		return "", false
	}
	return text, true
}

// backend returns the type that is published; "" if it is none.
func (d *decoder) backend() string {
	text, _ := d.text(d.keys.backend, maxTypeBytes)
	for _, r := range text {
		if r <= ' ' || r >= 0x7f {
			d.refuse(d.keys.backend, "%.64q is no backend type; one such as vxlan would be right", text)
			return ""
		}
	}
	return text
}

// subnets returns the subnets that the Node has, at most one of each family: as
// it publishes them, else as the cluster assigned them. What its own spec
// contradicts is not its.
func (d *decoder) subnets() []netip.Prefix {
	assigned := podCIDRs(d.node.PodCIDRs)
	list, told := d.node.Annotations[keySubnets]
	if !told && d.node.Oversize[keySubnets] == 0 {
		return assigned
	}
	if _, ok := d.text(keySubnets, 2*maxPrefix+1); !ok {
		return nil
	}
	claimed, err := parseSubnets(list)
	if err != nil {
		d.refuse(keySubnets, "%v", err)
		return nil
	}
	return slices.DeleteFunc(claimed, func(s netip.Prefix) bool {
		foreign := !d.own && len(assigned) > 0 && !slices.Contains(assigned, s)
		if foreign {
			d.refuse(keySubnets, "%s is not what the cluster assigned to that node, which is %s", s, joinSubnets(assigned))
		}
		return foreign
	})
}

// endpoint returns the half of a lease in the family of s; the zero Endpoint
// where it cannot be read.
func (d *decoder) endpoint(s netip.Prefix, uplinkKey, dataKey string) subnet.Endpoint {
	text, ok := d.text(uplinkKey, maxAddr)
	if !ok {
		return subnet.Endpoint{}
	}
	uplink, err := parseAddr(text, s.Addr().BitLen())
	if err != nil {
		d.refuse(uplinkKey, "%v", err)
		return subnet.Endpoint{}
	}
	raw, ok := d.text(dataKey, maxDataBytes)
	if !ok {
		return subnet.Endpoint{}
	}
	data, ok := compact(raw)
	if !ok {
		d.refuse(dataKey, "%.64q is no JSON", raw)
		return subnet.Endpoint{}
	}
	return subnet.Endpoint{Subnet: s, Uplink: uplink, Data: data}
}

// compact returns JSON without white space, "" for null and for nothing.
func compact(raw string) (string, bool) {
	if raw == "" {
		return "", true
	}
	if !json.Valid([]byte(raw)) {
		return "", false
	}
	if strings.ContainsAny(raw, " \t\r\n") {
		var b bytes.Buffer
		if err := json.Compact(&b, []byte(raw)); err != nil {
			return "", false
		}
		raw = b.String()
	}
	if raw == "null" {
		return "", true
	}
	return raw, true
}
