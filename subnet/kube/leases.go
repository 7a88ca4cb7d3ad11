// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// Lease objects are listed in pages of so many, up to a number that no network
// has subnets for.
const (
	pageClaims = "1000"
	maxClaims  = 100_000
)

// A claim is a Lease object of coordination.k8s.io/v1 that makes something one
// node's: a subnet, whose name it bears so that only one node can create it, or
// a record. The Node owns it, so that it goes with the Node.
type claim struct {
	APIVersion string        `json:"apiVersion,omitempty"`
	Kind       string        `json:"kind,omitempty"`
	Metadata   claimMetadata `json:"metadata"`
	Spec       claimSpec     `json:"spec"`
}

type claimMetadata struct {
	Name            string                  `json:"name"`
	UID             string                  `json:"uid,omitempty"`
	ResourceVersion string                  `json:"resourceVersion,omitempty"`
	OwnerReferences []metav1.OwnerReference `json:"ownerReferences,omitempty"`
	Labels          map[string]string       `json:"labels,omitempty"`
	Annotations     map[string]string       `json:"annotations,omitempty"`
}

type claimSpec struct {
	Holder string `json:"holderIdentity,omitempty"`
}

func (s *Store) newClaim(name, uid string) claim {
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: s.cfg.Node, UID: types.UID(uid)}
	return claim{
		APIVersion: "coordination.k8s.io/v1", Kind: "Lease",
		Metadata: claimMetadata{Name: name, OwnerReferences: []metav1.OwnerReference{owner}},
		Spec:     claimSpec{Holder: s.cfg.Node},
	}
}

// ownedBy reports whether the claim goes with the Node of that uid.
func (c claim) ownedBy(uid string) bool {
	return slices.ContainsFunc(c.Metadata.OwnerReferences, func(o metav1.OwnerReference) bool { return string(o.UID) == uid })
}

// holder names who holds the claim, for people.
func (c claim) holder() string {
	if c.Spec.Holder == "" {
		return "nobody (an operator may have made it)"
	}
	return fmt.Sprintf("%.253q", c.Spec.Holder)
}

const claimPrefix = "subnet-"

// claimName returns the name of the object for a subnet: "subnet-10-42-7-0-24",
// and IPv6 addresses in full, so that each subnet has one name.
func claimName(p netip.Prefix) string {
	digits := strings.NewReplacer(".", "-", ":", "-").Replace(p.Addr().StringExpanded())
	return claimPrefix + digits + "-" + strconv.Itoa(p.Bits())
}

// parseClaimName is the reverse of claimName.
func parseClaimName(name string) (netip.Prefix, bool) {
	text, ok := strings.CutPrefix(name, claimPrefix)
	place := strings.LastIndexByte(text, '-')
	if !ok || place < 0 {
		return netip.Prefix{}, false
	}
	point := "."
	if strings.Count(text[:place], "-") == 7 {
		point = ":"
	}
	p, err := netip.ParsePrefix(strings.ReplaceAll(text[:place], "-", point) + "/" + text[place+1:])
	if err != nil || p != p.Masked() || claimName(p) != name {
		return netip.Prefix{}, false
	}
	return p, true
}

// claims returns the way to our Lease objects.
func (s *Store) claims() string {
	return "/apis/coordination.k8s.io/v1/namespaces/" + s.cfg.Namespace + "/leases"
}

func (s *Store) readClaim(ctx context.Context, name string) (c claim, err error) {
	err = s.ask(ctx, "read Lease "+name+" in namespace "+s.cfg.Namespace, func(ctx context.Context) error {
		return s.into(s.client.Get().AbsPath(s.claims(), name).Do(ctx), &c)
	})
	return c, err
}

func (s *Store) createClaim(ctx context.Context, c claim) error {
	return s.send(ctx, "create", c, s.client.Post().AbsPath(s.claims()), c)
}

func (s *Store) updateClaim(ctx context.Context, c claim) error {
	return s.send(ctx, "update", c, s.client.Put().AbsPath(s.claims(), c.Metadata.Name), c)
}

// deleteClaim deletes the object unless it is another one by now.
func (s *Store) deleteClaim(ctx context.Context, c claim) error {
	body := map[string]any{"preconditions": map[string]string{
		"uid": c.Metadata.UID, "resourceVersion": c.Metadata.ResourceVersion,
	}}
	return s.send(ctx, "delete", c, s.client.Delete().AbsPath(s.claims(), c.Metadata.Name), body)
}

func (s *Store) send(ctx context.Context, verb string, c claim, r *rest.Request, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("%s Lease %s: %w", verb, c.Metadata.Name, err)
	}
	return s.ask(ctx, verb+" Lease "+c.Metadata.Name+" in namespace "+s.cfg.Namespace, func(ctx context.Context) error {
		return r.SetHeader("Content-Type", runtime.ContentTypeJSON).Body(raw).Do(ctx).Error()
	})
}

// listClaims returns the Lease objects of our namespace but records, in pages.
func (s *Store) listClaims(ctx context.Context) (all []claim, err error) {
	for next := ""; ; {
		var page struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []claim `json:"items"`
		}
		err := s.ask(ctx, "list Leases in namespace "+s.cfg.Namespace, func(ctx context.Context) error {
			return s.into(s.client.Get().AbsPath(s.claims()).Param("labelSelector", "!"+labelRecord).
				Param("limit", pageClaims).Param("continue", next).Do(ctx), &page)
		})
		if err != nil {
			return nil, err
		}
		if all = append(all, page.Items...); len(all) > maxClaims {
			return nil, fmt.Errorf("list Leases in namespace %s: more than %d; only those of the cluster's nodes belong there", s.cfg.Namespace, maxClaims)
		}
		if next = page.Metadata.Continue; next == "" {
			return all, nil
		}
	}
}
