// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"testing"

	"github.com/percale-net/percale/subnet"
)

func TestLeaseIsKept(t *testing.T) {
	dir := t.TempDir()
	if got, err := LoadLease(dir, "n1"); err != nil || got != (subnet.Lease{}) {
		t.Errorf("LoadLease of nothing = %+v, %v; want the zero lease", got, err)
	}
	own := subnet.Lease{Node: "n1", Backend: "vxlan", V4: subnet.Endpoint{
		Subnet: netip.MustParsePrefix("10.42.7.0/24"), Uplink: netip.MustParseAddr("192.0.2.7"),
		Data: `{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}`,
	}}
	if err := SaveLease(dir, own); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadLease(dir, "n1"); err != nil || got != own {
		t.Errorf("LoadLease = %+v, %v; want %+v", got, err, own)
	}
	if got, err := LoadLease(dir, "n2"); err == nil || got != (subnet.Lease{}) {
		t.Errorf("LoadLease of another node's file = %+v, %v; want an error", got, err)
	}
	whole, err := os.ReadFile(leasePath(dir))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parseLease(bytes.Replace(whole, []byte("10.42.7.0"), []byte("10.42.6.0"), 1), "lease.json", "n1"); err == nil || got != (subnet.Lease{}) {
		t.Errorf("lease of a damaged file = %+v, %v; want an error", got, err)
	}
	older, err := json.Marshal(own) // without a checksum
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parseLease(older, "lease.json", "n1"); err != nil || got != own {
		t.Errorf("lease of an older version's file = %+v, %v; want %+v", got, err, own)
	}
	if err := os.Truncate(leasePath(dir), 20); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadLease(dir, "n1"); err == nil || got != (subnet.Lease{}) {
		t.Errorf("LoadLease of half a file = %+v, %v; want an error", got, err)
	}
}

func FuzzParseLease(f *testing.F) {
	f.Add([]byte(`{"Node":"n1","V4":{"Subnet":"10.42.7.0/24","Uplink":"192.0.2.7"}}`))
	f.Add([]byte(`{"Node":"n1","V4":{"Subnet":"10.42.7.1/24"}}`))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		own, err := parseLease(b, "lease.json", "n1")
		if err != nil {
			return
		}
		if own.Node != "n1" {
			t.Errorf("parseLease took a lease of %q", own.Node)
		}
		for e := range own.Endpoints() {
			if e.Subnet != e.Subnet.Masked() {
				t.Errorf("parseLease took %s", e.Subnet)
			}
		}
	})
}
