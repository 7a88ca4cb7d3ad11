// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	sigsyaml "sigs.k8s.io/yaml"
)

// A Client asks an API server. It may be used concurrently.
type Client struct {
	url     string
	http    *http.Client
	objects *dynamic.DynamicClient
}

// NewClient returns a client with the rights that cfg has.
func NewClient(cfg *rest.Config) (*Client, error) {
	h, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfigAndClient(cfg, h)
	if err != nil {
		return nil, err
	}
	return &Client{cfg.Host, h, objects}, nil
}

// Ready returns nil if the server says that it is.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.get(ctx, "/readyz")
	return err
}

// get returns the answer to a plain request.
func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("get %s: %s: %.200s", path, resp.Status, body)
	}
	return body, err
}

// Resource returns the objects of a kind: in a namespace, or in all of them, or
// of the cluster, if it is "".
func (c *Client) Resource(r schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	return c.objects.Resource(r).Namespace(namespace)
}

// Apply has the server merge each object of a manifest, YAML documents with
// "---" between, into what is there, as "kubectl apply --server-side
// --force-conflicts" does. It stops at the first that the server refuses.
func (c *Client) Apply(ctx context.Context, manifest []byte) error {
	objects, err := Objects(manifest)
	if err != nil {
		return err
	}
	return c.ApplyObjects(ctx, objects)
}

// ApplyObjects is Apply for what Objects has parsed.
func (c *Client) ApplyObjects(ctx context.Context, objects []*unstructured.Unstructured) error {
	return c.apply(ctx, objects, metav1.ApplyOptions{FieldManager: manager, Force: true})
}

// DryRun is ApplyObjects of which nothing stays. An object in a namespace of the
// same manifest is refused while there is none.
func (c *Client) DryRun(ctx context.Context, objects []*unstructured.Unstructured) error {
	return c.apply(ctx, objects, metav1.ApplyOptions{FieldManager: manager, Force: true, DryRun: []string{metav1.DryRunAll}})
}

const manager = "lab"

func (c *Client) apply(ctx context.Context, objects []*unstructured.Unstructured, o metav1.ApplyOptions) error {
	for _, object := range objects {
		at, err := c.at(ctx, object)
		if err == nil {
			_, err = at.Apply(ctx, object.GetName(), object, o)
		}
		if err != nil {
			return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

// at returns where an object of that kind and namespace belongs.
func (c *Client) at(ctx context.Context, o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := o.GroupVersionKind()
	path := "/apis/" + kind.GroupVersion().String()
	if kind.Group == "" {
		path = "/api/" + kind.Version
	}
	body, err := c.get(ctx, path)
	if err != nil {
		return nil, err
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("read what %s offers: %w", path, err)
	}
	i := slices.IndexFunc(list.APIResources, func(r metav1.APIResource) bool {
		return r.Kind == kind.Kind && !strings.Contains(r.Name, "/") // no subresource
	})
	if i < 0 {
		return nil, fmt.Errorf("%s offers no %s", path, kind.Kind)
	}
	r, namespace := list.APIResources[i], o.GetNamespace()
	if r.Namespaced && namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return c.Resource(kind.GroupVersion().WithResource(r.Name), namespace), nil
}

// Objects parses the YAML documents of a manifest; empty ones are left out. An
// unknown or doubled key in an object is the server's to refuse.
func Objects(manifest []byte) ([]*unstructured.Unstructured, error) {
	docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	var all []*unstructured.Unstructured
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}
		var o unstructured.Unstructured
		if err := sigsyaml.UnmarshalStrict(doc, &o.Object); err != nil {
			return nil, fmt.Errorf("read document %d of manifest: %w", len(all)+1, err)
		}
		if len(o.Object) > 0 {
			all = append(all, &o)
		}
	}
}
