// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"testing"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/subnet/local"
)

// By what ADD leaves, percaled finds the addresses, and people find the pod.
func TestAddTellsOfTheStore(t *testing.T) {
	t.Parallel()
	n := newNode(t, envDual)
	n.mustAdd(t, "abc", netns.Temp(t), n.conf(nil))
	var stores []local.Network
	err := n.Do(func() error {
		here, err := local.Here()
		if err == nil {
			stores, err = local.Noted(filepath.Join(n.dir, "run"), here)
		}
		return err
	})
	if err != nil || len(stores) != 1 || stores[0].SubnetFile != n.envPath() {
		t.Fatalf("noted in the node's namespace: %v, %v; want one store", stores, err)
	}
	here, err := local.Here()
	if err != nil {
		t.Fatal(err)
	}
	if all, err := local.Noted(filepath.Join(n.dir, "run"), here); err != nil || len(all) > 0 {
		t.Errorf("noted in another namespace: %v, %v; want none", all, err)
	}
	v, err := stores[0].Survey()
	if err != nil || len(v.Holdings) != 1 || len(v.Odd) > 0 {
		t.Fatalf("survey = %+v, %v; want one holding", v, err)
	}
	if h := v.Holdings[0]; !h.Ours || h.Pod != "ns1/x" || len(h.Addrs) != 2 {
		t.Errorf("holding = %+v; want two addresses of ours, for ns1/x", h)
	}
	if err := n.del(t, "abc", "", n.conf(nil)); err != nil {
		t.Fatal(err)
	}
	if v, err := stores[0].Survey(); err != nil || len(v.Holdings) > 0 || len(v.Odd) > 0 {
		t.Errorf("after DEL: %+v, %v; want nothing", v, err)
	}
}
