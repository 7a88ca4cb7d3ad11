// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// An object is a JSON object whose members are read by name. Names are
// compared as Go's decoder does, without regard to case; null is as good as
// absent. What is wrong goes into problems.
type object struct {
	*problems
	path    string // what its keys are called by, such as "Backend."
	members []member
}

type member struct {
	name string
	raw  json.RawMessage
}

// open reads the members of raw, which is valid JSON, and reports whether it is
// an object at all.
func (p *problems) open(path string, raw json.RawMessage) (object, bool) {
	o := object{problems: p, path: path}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		p.add(cmp.Or(strings.TrimSuffix(path, "."), "net-conf"), raw, "want a JSON object")
		return o, false
	}
	for dec.More() {
		t, err := dec.Token()
		var m member
		m.name, _ = t.(string)
		if err != nil || dec.Decode(&m.raw) != nil {
			return o, false // not for valid JSON
		}
		o.members = append(o.members, m)
	}
	return o, true
}

// expect names the members that are not known or stand twice. The hint may say
// more about an unknown one, or "".
func (o object) expect(known []string, hint func(name string) string) {
	seen := make(map[string]bool)
	for _, m := range o.members {
		i := indexFold(known, m.name)
		switch {
		case i < 0:
			o.add(o.path+excerpt(m.name), nil, "unknown key"+cmp.Or(hint(m.name), guess(m.name, known)))
		case seen[known[i]]:
			o.add(o.path+known[i], nil, "want it once: it stands there twice")
		default:
			seen[known[i]] = true
		}
	}
}

func guess(name string, known []string) string {
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ": remove it"
}

func indexFold(list []string, name string) int {
	return slices.IndexFunc(list, func(k string) bool { return strings.EqualFold(k, name) })
}

// get returns the value of key, nil if it is absent or null.
func (o object) get(key string) json.RawMessage {
	for _, m := range o.members {
		if strings.EqualFold(m.name, key) && string(m.raw) != "null" {
			return m.raw
		}
	}
	return nil
}

// blank reports whether key is absent, null or the empty text.
func (o object) blank(key string) bool {
	raw := o.get(key)
	return raw == nil || string(raw) == `""`
}

// reject says what key should be.
func (o object) reject(key, want string) { o.add(o.path+key, o.get(key), want) }

// text returns a string, or "" if key is absent or wrong.
func (o object) text(key string) string {
	var text string
	if raw := o.get(key); raw != nil && json.Unmarshal(raw, &text) != nil {
		o.reject(key, "want a text in quotes")
	}
	return text
}

// toggle returns a boolean, or usual if key is absent or wrong.
func (o object) toggle(key string, usual bool) bool {
	on := usual
	if raw := o.get(key); raw != nil && json.Unmarshal(raw, &on) != nil {
		o.reject(key, "want true or false, without quotes")
		return usual
	}
	return on
}

// A limits is a range of whole numbers. Zero may be allowed besides.
type limits struct {
	least, most int
	zero        string // what 0 stands for; "" if it is not allowed
}

// number returns a whole number, and false if key is absent or wrong.
func (o object) number(key string, l limits) (int, bool) {
	raw := o.get(key)
	if raw == nil {
		return 0, false
	}
	n, err := strconv.Atoi(string(raw))
	if err == nil && (n >= l.least && n <= l.most || n == 0 && l.zero != "") {
		return n, true
	}
	want := fmt.Sprintf("want a number from %d to %d, without quotes", l.least, l.most)
	if l.zero != "" {
		want += fmt.Sprintf(", or 0 for %s", l.zero)
	}
	o.reject(key, want)
	return 0, false
}

// prefix returns a network without its host bits, and false if key is absent,
// empty or wrong.
func (o object) prefix(key string, f family) (netip.Prefix, bool) {
	text := o.text(key)
	if text == "" {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().BitLen() != f.bits {
		o.reject(key, fmt.Sprintf("want an %s network such as %q", f.name, f.example))
		return netip.Prefix{}, false
	}
	return p.Masked(), true
}

// address returns an IP address, and false if key is absent, empty or wrong.
func (o object) address(key string, f family) (netip.Addr, bool) {
	text := o.text(key)
	if text == "" {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.BitLen() != f.bits || a.Zone() != "" {
		o.reject(key, fmt.Sprintf("want an %s address without a length", f.name))
		return netip.Addr{}, false
	}
	return a, true
}
