// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/connrotation"
)

// connect makes the client, which dials when it is used.
func (s *Store) connect() error {
	if s.cfg.Client == nil {
		return errors.New("no client configuration given")
	}
	cfg := rest.CopyConfig(s.cfg.Client)
	s.dialer = connrotation.NewDialer((&net.Dialer{Timeout: dialLimit}).DialContext)
	cfg.Dial = s.dialer.DialContext
	s.config = rest.CopyConfig(cfg)

	// The server's own words for errors are all that is decoded by client-go.
	version := schema.GroupVersion{Version: "v1"}
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, version)
	cfg.GroupVersion, cfg.APIPath = &version, "/api"
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	cfg.ContentType, cfg.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	client, err := rest.RESTClientFor(cfg)
	if err != nil {
		return err
	}
	s.client = client
	return nil
}

// A node is what we need of a Node object.
type node struct {
	Metadata struct {
		UID         string            `json:"uid"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		PodCIDR  string   `json:"podCIDR"`
		PodCIDRs []string `json:"podCIDRs"`
	} `json:"spec"`
}

// assigned returns the pod CIDRs.
func (n node) assigned() []string {
	if len(n.Spec.PodCIDRs) == 0 && n.Spec.PodCIDR != "" {
		return []string{n.Spec.PodCIDR}
	}
	return n.Spec.PodCIDRs
}

// node reads a Node object.
func (s *Store) node(ctx context.Context, name string) (n node, err error) {
	err = s.ask(ctx, "read Node "+name, func(ctx context.Context) error {
		return s.into(s.client.Get().Resource("nodes").Name(name).Do(ctx), &n)
	})
	return n, err
}

// annotate makes our Node object bear the annotations, and the label or not. It
// writes nothing that is there.
func (s *Store) annotate(ctx context.Context, n node, want map[string]string, label bool) error {
	change, labels := s.keys.change(n.Metadata.Annotations, want), map[string]*string(nil)
	if text, there := n.Metadata.Labels[labelRecord]; there != label || label && text != yes {
		labels = map[string]*string{labelRecord: nil}
		if value := yes; label {
			labels[labelRecord] = &value
		}
	}
	if len(change) == 0 && len(labels) == 0 {
		return nil
	}
	body, err := patch(n.Metadata.UID, change, labels)
	if err != nil {
		return err
	}
	return s.ask(ctx, "annotate Node "+s.cfg.Node, func(ctx context.Context) error {
		return s.client.Patch(types.MergePatchType).Resource("nodes").Name(s.cfg.Node).SubResource("status").Body(body).Do(ctx).Error()
	})
}

func (s *Store) into(result rest.Result, to any) error {
	raw, err := result.Raw()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("answer of the API server: %w", err)
	}
	return nil
}

// explain says what an error of the API server means and what helps.
func (s *Store) explain(what string, err error) error {
	switch {
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: the API server does not take our credentials; in a pod: is its service account there "+
			"(kubectl -n %s get serviceaccount)? else check --kubeconfig-file: %w", what, s.cfg.Namespace, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: the API server does not allow it; apply Percale's manifest again, its ClusterRole and Role say what it needs: %w", what, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: the API server at %s does not answer within %v; does it run, and does a firewall let TCP through?", what, s.cfg.Client.Host, requestLimit)
	}
	return fmt.Errorf("%s: %w", what, err)
}
