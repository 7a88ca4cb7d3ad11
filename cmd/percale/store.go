// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/percale-net/percale/internal/status"
)

// lasting says how long the subnet is ours. One without an end is a reservation,
// or one that the store has not confirmed.
func lasting(s status.Status, now time.Time) string {
	switch {
	case !s.Expires.IsZero():
		return "for " + age(now, s.Expires) + " unless renewed"
	case s.Store.Cached || isProblem(s, "lease"):
		return "not confirmed by the store"
	case s.Kubernetes.Source == status.FromPodCIDR:
		return "from the Node's spec.podCIDR"
	case s.Kubernetes.Source == status.FromLease:
		return "leased by this node itself, as long as its Node is"
	case s.Kubernetes.Source == status.FromBefore:
		return "kept while pods live in it"
	case s.Store.Kind == status.Kube:
		return "as long as the Node is"
	}
	return "for ever"
}

// storeState leaves out why the store is away where that stands under problems.
func storeState(s status.Status, now time.Time) string {
	why := ": " + or(s.Store.Error, "no answer yet")
	if isProblem(s, "store") {
		why = "; see problems below"
	}
	switch {
	case s.Store.Cached:
		return fmt.Sprintf("AWAY, leases cached, %s old%s", age(s.Store.At, now), why)
	case s.Store.Error != "" && s.Store.Synced:
		return fmt.Sprintf("AWAY for %s, leases stay%s", age(s.Store.AwaySince, now), why)
	case s.Store.Error != "":
		return "AWAY" + why
	case !s.Store.Synced:
		return "no leases read yet"
	}
	return "connected, last change " + age(s.Store.At, now) + " ago"
}

// conditions are those of our Node, in which others may have written, too.
func conditions(all []status.Condition) string {
	var texts []string
	for _, c := range all {
		texts = append(texts, fmt.Sprintf("%s=%s (%s)", c.Type, printable(c.Status), printable(c.Reason)))
	}
	return strings.Join(texts, "  ")
}

// isProblem reports whether there is a problem with a part.
func isProblem(s status.Status, part string) bool {
	return slices.ContainsFunc(s.Problems, func(p status.Problem) bool { return p.Part == part })
}
