// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"github.com/percale-net/percale/network/pod"
	"github.com/percale-net/percale/subnet/local"
)

// aliasMark begins the alias of each port that this plugin made.
const aliasMark = "percale-cni"

// alias says of a port whose it is, so that GC knows it as ours and of this
// network even when all files are lost, and "ip link" shows it. It is "" where
// it would be longer than the 255 bytes that the kernel takes.
func alias(network string, own local.Owner) string {
	s := strings.Join([]string{aliasMark, network, own.Container, own.Ifname}, " ")
	if len(s) > 255 {
		return ""
	}
	return s
}

// alias says, besides, what the pod may send from, and if there is no room for
// both only that: without it, the agent would not keep the guard.
func (j *job) alias(s pod.Sender) string {
	whose := alias(j.config.Name, j.own)
	if on, _ := j.config.guarded(); !on {
		return whose
	}
	if both := whose + " " + s.Alias(); whose != "" && len(both) <= pod.MaxAlias {
		return both
	}
	return s.Alias()
}

// parseAlias is the inverse of alias.
func parseAlias(s string) (network string, own local.Owner, ok bool) {
	f := strings.Split(s, " ")
	if len(f) < 4 || f[0] != aliasMark {
		return "", local.Owner{}, false
	}
	own = local.Owner{Container: f[2], Ifname: f[3]}
	return f[1], own, own.Check() == nil
}
