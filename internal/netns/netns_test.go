// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"net"
	"strings"
	"testing"
)

func TestTempIsApartAndUp(t *testing.T) {
	a, b := Temp(t), Temp(t)
	outA, err := a.Output("cat", "/proc/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(outA, ":") != 1 || !strings.Contains(outA, "lo:") {
		t.Errorf("devices of a new namespace = %q; want lo alone", outA)
	}
	ids := map[string]bool{}
	for _, ns := range []NS{a, b} {
		id, err := ns.Output("readlink", "/proc/self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		ids[id] = true
	}
	if len(ids) != 2 {
		t.Errorf("two namespaces have ids %v; want two different ones", ids)
	}
	if _, err := Create(a.Name()); err == nil {
		t.Errorf("Create(%q) twice succeeded; want an error", a.Name())
	}
	err = a.Do(func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err != nil {
		t.Errorf("connect over loopback: %v; want it up", err)
	}
}
