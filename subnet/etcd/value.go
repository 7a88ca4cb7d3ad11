// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/percale-net/percale/subnet"
)

const (
	maxValueBytes = 16 << 10
	maxNameBytes  = 253 // a DNS name
)

// A value is what a key holds: flannel's fields in flannel's order, then ours,
// which flannel ignores. Decoding is case-insensitive, as flannel's is.
type value struct {
	PublicIP      *string         // "0.0.0.0": none
	PublicIPv6    *string         // null: none
	BackendType   string          `json:",omitempty"`
	BackendData   json.RawMessage `json:",omitempty"`
	BackendV6Data json.RawMessage `json:",omitempty"`
	Node          string          `json:",omitempty"`
}

// encode returns the key, below <prefix>/subnets/, and the value for l.
func encode(l subnet.Lease) (key string, val []byte, err error) {
	p := placeOf(l)
	key = p.key()
	if _, err := parseKey(key); err != nil {
		return "", nil, fmt.Errorf("encode lease: %w", err)
	}
	v4 := "0.0.0.0"
	if l.V4.Uplink.IsValid() {
		v4 = l.V4.Uplink.String()
	}
	v := value{PublicIP: &v4, BackendType: l.Backend, Node: l.Node,
		BackendData: json.RawMessage(l.V4.Data), BackendV6Data: json.RawMessage(l.V6.Data)}
	if l.V6.Uplink.IsValid() {
		v6 := l.V6.Uplink.String()
		v.PublicIPv6 = &v6
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // what is read back must equal what was written
	if err := e.Encode(v); err != nil {
		return "", nil, fmt.Errorf("encode lease %s: %w", key, err)
	}
	val = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if _, err := decodeValue(p, val); err != nil {
		return "", nil, fmt.Errorf("encode lease %s: %w", key, err)
	}
	return key, val, nil
}

// decodeValue reads the value of the key that stands for p. What belongs to a
// family that p lacks is left out.
func decodeValue(p place, val []byte) (subnet.Lease, error) {
	if len(val) > maxValueBytes {
		return subnet.Lease{}, fmt.Errorf("value of %d bytes; at most %d would be right", len(val), maxValueBytes)
	}
	var v value
	if err := json.Unmarshal(val, &v); err != nil {
		return subnet.Lease{}, fmt.Errorf("value is no lease in JSON: %w", err)
	}
	uplink4, err4 := parseUplink("PublicIP", v.PublicIP, 32)
	uplink6, err6 := parseUplink("PublicIPv6", v.PublicIPv6, 128)
	if err := errors.Join(err4, err6, checkName("Node", v.Node), checkName("BackendType", v.BackendType)); err != nil {
		return subnet.Lease{}, err
	}
	l := subnet.Lease{Node: v.Node, Backend: v.BackendType}
	if p.v4.IsValid() {
		l.V4 = subnet.Endpoint{Subnet: p.v4, Uplink: uplink4, Data: compact(v.BackendData)}
	}
	if p.v6.IsValid() {
		l.V6 = subnet.Endpoint{Subnet: p.v6, Uplink: uplink6, Data: compact(v.BackendV6Data)}
	}
	return l, nil
}

// parseUplink reads an address of so many bits; the zero Addr if there is none.
func parseUplink(field string, text *string, bits int) (netip.Addr, error) {
	if text == nil || *text == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(*text)
	if err != nil || a.BitLen() != bits || a.Zone() != "" || a.Is4In6() {
		return netip.Addr{}, fmt.Errorf("%s is %.64q; an IPv%d address would be right", field, *text, 4+2*(bits/128))
	}
	if a.IsUnspecified() {
		return netip.Addr{}, nil
	}
	return a, nil
}

// checkName bounds a name that others publish: it ends up in logs and tables.
func checkName(field, name string) error {
	if len(name) > maxNameBytes {
		return fmt.Errorf("%s has %d bytes; at most %d would be right", field, len(name), maxNameBytes)
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] >= 0x7f {
			return fmt.Errorf("%s is %.64q; printable ASCII without spaces would be right", field, name)
		}
	}
	return nil
}

// compact returns raw without white space, and "" for null.
func compact(raw json.RawMessage) string {
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	if !bytes.ContainsAny(raw, " \t\r\n") {
		return string(raw)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return "" // Unmarshal has checked it
	}
	return b.String()
}
