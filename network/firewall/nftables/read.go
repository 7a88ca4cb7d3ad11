// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall"
	"github.com/percale-net/percale/network/firewall/nfattr"
)

// A content is our table in a form that can be compared: the same whether it
// was read from the kernel or rendered. nil: there is no table.
type content struct {
	flags  uint32           // of the table; 1: switched off ("dormant")
	chains map[string]chain // by name
}

type chain struct {
	head  string   // type, hook, priority and policy
	rules []string // expressions and comment of each
}

// wanted returns what the kernel shows when it holds r.
func wanted(r firewall.Ruleset) *content {
	if r.IsEmpty() {
		return nil
	}
	c := content{chains: make(map[string]chain)}
	for _, ch := range r.Chains {
		b := base(ch.Hook)
		out := chain{head: head(string(b.Type), uint32(*b.Hooknum), uint32(*b.Priority), uint32(*b.Policy))}
		for _, rule := range ch.Rules {
			out.rules = append(out.rules, form(exprs(rule), comment(rule)))
		}
		c.chains[b.Name] = out
	}
	return &c
}

// read returns what the kernel holds.
func read(f *os.File, table string) (*content, error) {
	return consistent(f, func() (*content, error) { return readOnce(f, table) })
}

// consistent returns what a reader reads of the kernel's rules, when they did
// not change in between.
func consistent[T any](f *os.File, reader func() (T, error)) (T, error) {
	var none T
	for range 20 {
		before, err := generation(f)
		if err != nil {
			return none, err
		}
		got, err := reader()
		after, genErr := generation(f)
		switch {
		case errors.Is(err, errInterrupted) || genErr == nil && before != after:
			continue
		case err != nil || genErr != nil:
			return none, errors.Join(err, genErr)
		}
		return got, nil
	}
	return none, errInterrupted
}

func readOnce(f *os.File, table string) (*content, error) {
	tables, err := ask(f, query{family: unix.NFPROTO_INET, kind: unix.NFT_MSG_GETTABLE, attrs: text(unix.NFTA_TABLE_NAME, table)})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read table: %w", err)
	}
	c := content{chains: make(map[string]chain)}
	for _, t := range tables {
		c.flags = number(nfattr.Find(t, unix.NFTA_TABLE_FLAGS))
	}
	chains, err := ask(f, query{family: unix.NFPROTO_INET, kind: unix.NFT_MSG_GETCHAIN, dump: true})
	if err != nil {
		return nil, fmt.Errorf("read chains: %w", err)
	}
	for _, b := range chains {
		if word(nfattr.Find(b, unix.NFTA_CHAIN_TABLE)) == table {
			c.chains[word(nfattr.Find(b, unix.NFTA_CHAIN_NAME))] = chain{head: decodeHead(b)}
		}
	}
	rules, err := ask(f, query{
		family: unix.NFPROTO_INET, kind: unix.NFT_MSG_GETRULE, dump: true, attrs: text(unix.NFTA_RULE_TABLE, table),
	})
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	for _, b := range rules {
		name := word(nfattr.Find(b, unix.NFTA_RULE_CHAIN))
		if ch, ok := c.chains[name]; ok && word(nfattr.Find(b, unix.NFTA_RULE_TABLE)) == table {
			ch.rules = append(ch.rules, decodeRule(b))
			c.chains[name] = ch
		}
	}
	return &c, nil
}

// generation returns a number that grows with each change to any rules of the
// namespace.
func generation(f *os.File) (uint32, error) {
	gens, err := ask(f, query{kind: unix.NFT_MSG_GETGEN})
	if err != nil || len(gens) == 0 {
		return 0, fmt.Errorf("read ruleset generation: %w", err)
	}
	return number(nfattr.Find(gens[0], unix.NFTA_GEN_ID)), nil
}

func head(kind string, hook, priority, policy uint32) string {
	verdict := "accept"
	if policy == uint32(nft.ChainPolicyDrop) {
		verdict = "drop"
	}
	names := [...]string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}
	if int(hook) >= len(names) {
		return fmt.Sprintf("%s at hook %d", kind, hook)
	}
	return fmt.Sprintf("type %s hook %s priority %d policy %s", kind, names[hook], int32(priority), verdict)
}

func decodeHead(b []byte) string {
	hook := nfattr.Find(b, unix.NFTA_CHAIN_HOOK)
	if hook == nil {
		return "no hook"
	}
	return head(word(nfattr.Find(b, unix.NFTA_CHAIN_TYPE)), number(nfattr.Find(hook, unix.NFTA_HOOK_HOOKNUM)),
		number(nfattr.Find(hook, unix.NFTA_HOOK_PRIORITY)), number(nfattr.Find(b, unix.NFTA_CHAIN_POLICY)))
}

func decodeRule(b []byte) string {
	var list []expr.Any
	var other []string
	for _, e := range nfattr.All(nfattr.Find(b, unix.NFTA_RULE_EXPRESSIONS)) {
		name, data := word(nfattr.Find(e, unix.NFTA_EXPR_NAME)), nfattr.Find(e, unix.NFTA_EXPR_DATA)
		if known := decodeExpr(name, data); known != nil {
			list = append(list, known)
		} else {
			other = append(other, fmt.Sprintf("%s %x", name, data))
		}
	}
	return form(list, nfattr.Find(b, unix.NFTA_RULE_USERDATA)) + strings.Join(other, " ")
}

// decodeExpr decodes the expressions that our own rules have, and returns nil
// for any other. Attributes that newer kernels add are left out.
func decodeExpr(name string, data []byte) expr.Any {
	var e expr.Any
	switch name {
	case "meta":
		e = new(expr.Meta)
	case "cmp":
		e = new(expr.Cmp)
	case "bitwise":
		e = new(expr.Bitwise)
	case "payload":
		e = new(expr.Payload)
	case "masq":
		e = new(expr.Masq)
	case "notrack":
		return new(expr.Notrack)
	case "counter":
		return new(expr.Counter) // whatever it has counted
	case "immediate":
		verdict := nfattr.Find(nfattr.Find(data, unix.NFTA_IMMEDIATE_DATA), unix.NFTA_DATA_VERDICT)
		if verdict == nil {
			return nil
		}
		return &expr.Verdict{
			Kind:  expr.VerdictKind(int32(number(nfattr.Find(verdict, unix.NFTA_VERDICT_CODE)))),
			Chain: word(nfattr.Find(verdict, unix.NFTA_VERDICT_CHAIN)),
		}
	default:
		return nil
	}
	if err := expr.Unmarshal(unix.NFPROTO_INET, data, e); err != nil {
		return nil
	}
	return e
}

// form writes a rule so that two of the same meaning are the same text.
func form(list []expr.Any, comment []byte) string {
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, "%#v ", e)
	}
	fmt.Fprintf(&b, "%x ", comment)
	return b.String()
}

// number and word decode attributes; what is none is 0 and "".
func number(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func word(b []byte) string { return string(bytes.TrimRight(b, "\x00")) }
