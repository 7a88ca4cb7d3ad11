// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"errors"
	"strings"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// counts returns how many packets each rule that drops has dropped since it was
// written, by what it is for. Rules that dropped none are left out.
func (t *table) counts(c *nft.Conn) (map[string]uint64, error) {
	all := make(map[string]uint64)
	if _, there, err := t.exists(c); err != nil || !there {
		return all, err
	}
	for _, ch := range t.chains {
		rules, err := c.GetRules(t.Table, ch.Chain)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			mark, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			why, _, _ := strings.Cut(mark, " [")
			for _, e := range r.Exprs {
				if n, ok := e.(*expr.Counter); ok && n.Packets > 0 {
					all[why] += n.Packets
				}
			}
		}
	}
	return all, nil
}
