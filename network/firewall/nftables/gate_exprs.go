// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall"
	"github.com/percale-net/percale/network/firewall/nfattr"
)

// text returns what the kernel shows of a rule of ours in the gate.
func (g gate) text(r firewall.Rule, mark string) string {
	return form(g.exprs(r), g.userdata(r, mark))
}

func (g gate) userdata(r firewall.Rule, mark string) []byte {
	return userdata.AppendString(nil, userdata.TypeComment, mark+r.Why)
}

// exprs returns a rule of ours as iptables would write it: what it cannot
// decode makes it refuse the whole table. It loads whole addresses, which every
// version of it understands; new ones themselves load only as many bytes as the
// network's length asks for.
func (g gate) exprs(r firewall.Rule) []expr.Any {
	var e []expr.Any
	if g.family.proto == unix.NFPROTO_INET {
		e = family(r.Match)
	}
	e = append(e, address(r.Match.Src, 12, 8)...)
	e = append(e, address(r.Match.Dst, 16, 24)...)
	return append(e, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictAccept})
}

// decodeGateRule decodes a rule of others, or of ours, in a gate.
func decodeGateRule(b []byte, mark string) rule {
	list := nfattr.Find(b, unix.NFTA_RULE_EXPRESSIONS)
	says, _ := saying(b)
	r := rule{text: decodeRule(b), ours: strings.HasPrefix(says, mark), effect: effectOf(list)}
	if h := nfattr.Find(b, unix.NFTA_RULE_HANDLE); len(h) == 8 {
		r.handle = binary.BigEndian.Uint64(h)
	}
	return r
}

// saying returns the comment of a rule: the one that nft and we write, or the
// one that iptables writes, as a match of its own.
func saying(rule []byte) (comment string, ok bool) {
	for data := nfattr.Find(rule, unix.NFTA_RULE_USERDATA); len(data) >= 2 && len(data) >= 2+int(data[1]); data = data[2+int(data[1]):] {
		if data[0] == byte(userdata.TypeComment) {
			return word(data[2 : 2+int(data[1])]), true
		}
	}
	for _, e := range nfattr.All(nfattr.Find(rule, unix.NFTA_RULE_EXPRESSIONS)) {
		if name, data := named(e); name == "match comment" {
			text, _, _ := bytes.Cut(nfattr.Find(data, unix.NFTA_MATCH_INFO), []byte{0})
			return string(text), true
		}
	}
	return "", false
}

// named returns what kind an expression is of, and its attributes. Those that
// iptables brings along have its name for them behind ours.
func named(e []byte) (name string, data []byte) {
	name, data = word(nfattr.Find(e, unix.NFTA_EXPR_NAME)), nfattr.Find(e, unix.NFTA_EXPR_DATA)
	if name == "match" || name == "target" {
		name += " " + word(nfattr.Find(data, unix.NFTA_MATCH_NAME)) // as NFTA_TARGET_NAME
	}
	return name, data
}

// effectOf says what the expressions of a rule do to every packet. It takes for
// a condition whatever it does not know.
func effectOf(list []byte) effect {
	var out effect
	some, loaded := false, false // whether it is for some packets only; whether a family was loaded last
	for _, e := range nfattr.All(list) {
		name, data := named(e)
		asked := loaded
		loaded = false
		switch name {
		case "counter", "log", "match comment", "target LOG", "target NFLOG", "target TRACE":
		case "reject", "target REJECT":
			out.then = drops
		case "queue", "target NFQUEUE":
			out.then = accepts // as another program will have it
		case "immediate":
			if v, ok := decodeExpr(name, data).(*expr.Verdict); ok {
				out.then, out.chain = fateOf(v.Kind), v.Chain
			}
		case "meta":
			m, _ := decodeExpr(name, data).(*expr.Meta)
			loaded = m != nil && m.Key == expr.MetaKeyNFPROTO && !m.SourceRegister
			some = some || !loaded && (m == nil || !m.SourceRegister)
		case "cmp":
			c, _ := decodeExpr(name, data).(*expr.Cmp)
			if asked && c != nil && c.Op == expr.CmpOpEq && len(c.Data) == 1 && out.family == 0 {
				out.family = c.Data[0]
			} else {
				some = true
			}
		case "lookup":
			some = true
			if nfattr.Find(data, unix.NFTA_LOOKUP_DREG) != nil {
				out.then = decides // a verdict map
			}
		default:
			some = true
		}
	}
	return narrow(out, some)
}

// narrow returns the effect of a rule that may be for some packets only.
func narrow(e effect, some bool) effect {
	switch {
	case !some:
		return e
	case e.then == passes || e.then == drops:
		return effect{}
	}
	return effect{family: e.family, then: decides}
}

func fateOf(v expr.VerdictKind) fate {
	switch v {
	case expr.VerdictDrop:
		return drops
	case expr.VerdictJump:
		return jumps
	case expr.VerdictGoto:
		return goes
	case expr.VerdictReturn:
		return returns
	case expr.VerdictContinue, expr.VerdictBreak:
		return passes
	}
	return accepts // or stolen, or queued: gone from here
}
