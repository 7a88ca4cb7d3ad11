// SPDX-License-Identifier: Apache-2.0

package nftables

import "fmt"

// FlannelLeft returns the commands that remove the rules of flannel which the
// last Sync saw. They are not ours, and do no harm. It must not be called while
// Sync runs.
func (f *Firewall) FlannelLeft() []string { return f.flannel }

// flannelTable returns the command that removes a table, none if it is not
// flannel's.
func flannelTable(fam tables, name string) []string {
	if fam.name == "ip" && name == "flannel-ipv4" || fam.name == "ip6" && name == "flannel-ipv6" {
		return []string{fmt.Sprintf("nft delete table %s %s", fam.name, name)}
	}
	return nil
}

// flannelChain returns the commands that remove a chain and the jump to it,
// none if it is not flannel's.
func flannelChain(fam tables, table, name string) []string {
	from, comment := "", ""
	switch {
	case table == "nat" && name == "FLANNEL-POSTRTG":
		from, comment = "POSTROUTING", "flanneld masq"
	case table == "filter" && name == "FLANNEL-FWD":
		from, comment = "FORWARD", "flanneld forward"
	}
	tool := map[string]string{"ip": "iptables", "ip6": "ip6tables"}[fam.name]
	if from == "" || tool == "" {
		return nil
	}
	tool += " -t " + table
	return []string{fmt.Sprintf("%s -D %s -m comment --comment %q -j %s; %[1]s -F %[4]s; %[1]s -X %[4]s", tool, from, comment, name)}
}
