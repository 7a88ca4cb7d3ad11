// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall"
	"github.com/percale-net/percale/network/firewall/nfattr"
)

func TestCompareTables(t *testing.T) {
	t.Parallel()
	r := firewall.Rules(config())
	dormant := wanted(r)
	dormant.flags = 1
	for name, tc := range map[string]struct {
		have, want *content
		text       []string
	}{
		"same":       {wanted(r), wanted(r), nil},
		"both none":  {nil, nil, nil},
		"missing":    {nil, wanted(r), []string{"table: missing"}},
		"not wanted": {wanted(r), nil, []string{"table: not wanted"}},
		"dormant":    {dormant, wanted(r), []string{"table: has flags 0x1, want 0x0"}},
	} {
		if got := compare(tc.have, tc.want); !slices.Equal(got, tc.text) {
			t.Errorf("%s: compare = %q; want %q", name, got, tc.text)
		}
		s := stuck{tc.have, tc.want}
		if want := (tc.have != nil || tc.want != nil); s.is(s) != want {
			t.Errorf("%s: stuck in the same state = %v; want %v", name, !want, want)
		}
	}
	if (stuck{nil, wanted(r)}).is(stuck{dormant, wanted(r)}) {
		t.Error("stuck in another state; want it written again")
	}
}

func TestLeaves(t *testing.T) {
	t.Parallel()
	e := fmt.Errorf("flush: %w", errors.Join(errors.Join(nil, syscall.EEXIST), fmt.Errorf("x: %w", syscall.ENOENT)))
	if got := leaves(e); !slices.Equal(got, []error{syscall.EEXIST, syscall.ENOENT}) {
		t.Errorf("leaves = %v; want both errors", got)
	}
	if !isUnsupported(e) || isUnsupported(syscall.EPERM) || isUnsupported(nil) {
		t.Error("only what the kernel lacks should count as unsupported")
	}
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		m    syscall.NetlinkMessage
		done bool
		err  error
	}{
		"object":      {syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: 0xa00}}, false, nil},
		"interrupted": {syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: 0xa00, Flags: unix.NLM_F_DUMP_INTR}}, true, errInterrupted},
		"end":         {syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.NLMSG_DONE}, Data: make([]byte, 4)}, true, nil},
		"short end":   {syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.NLMSG_DONE}}, true, nil},
		"error":       {syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.NLMSG_ERROR}, Data: native(^uint32(unix.ENOENT) + 1)}, true, unix.ENOENT},
	} {
		if done, err := answer(tc.m); done != tc.done || !errors.Is(err, tc.err) {
			t.Errorf("%s: answer = %v, %v; want %v, %v", name, done, err, tc.done, tc.err)
		}
	}
}

func FuzzAttributes(f *testing.F) {
	f.Add(text(unix.NFTA_RULE_TABLE, "percale"), "x")
	f.Add([]byte{3, 0, 1, 0, 255, 255, 1, 0}, "percale")
	f.Add([]byte{}, "")
	f.Fuzz(func(t *testing.T, b []byte, s string) {
		size := 0
		for _, v := range nfattr.All(b) {
			size += unix.SizeofNlAttr + len(v)
		}
		if size > len(b) {
			t.Errorf("attributes of %d bytes have %d", len(b), size)
		}
		decodeRule(b)
		decodeHead(b)
		forwards(b)
		for _, n := range networks() {
			if acceptsFor(b, n) && verdict(b).Kind != expr.VerdictAccept {
				t.Errorf("a rule accepts %v, and ends in %v", n, verdict(b))
			}
			contains(b, len(s), n)
		}
		some := false
		(&Firewall{table: "percale"}).hear(b, &some)
		if r := decodeGateRule(b, s); r.ours {
			if says, ok := saying(b); s != "" && (!ok || !strings.HasPrefix(says, s)) {
				t.Errorf("a rule that says %q is ours, whose say %q", says, s)
			}
		}
		effectOf(b)
		for _, name := range []string{"meta", "cmp", "bitwise", "payload", "masq", "immediate", "notrack", "x"} {
			decodeExpr(name, b)
		}
		if len(s) < 1000 && word([]byte(s)) == s {
			if got := word(nfattr.Find(text(7, s), 7)); got != s {
				t.Errorf("text %q is read back as %q", s, got)
			}
		}
	})
}
