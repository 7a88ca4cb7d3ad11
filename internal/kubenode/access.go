// SPDX-License-Identifier: Apache-2.0

package kubenode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// inPod is where a pod finds its service account.
const inPod = "/var/run/secrets/kubernetes.io/serviceaccount"

// Client says how to reach the API server: by the values of --kube-api-url and
// --kubeconfig-file, or where both are empty as a pod does. With a URL alone a
// pod's credentials are used with it, as long as it is https. The API server's
// log knows us as percaled of the given version.
//
// It connects to nothing. The service account's token is read again when it was
// rotated, within a minute. Dialing is bounded to 30 s, a TLS handshake to 10 s,
// and a connection on which nothing comes for 30 s is asked for a sign of life
// and given up 15 s later (the defaults of client-go, which needs HTTP/2 for the
// latter). There is no bound for a whole request, since a watch has none: give
// each of the others a context that ends.
func Client(apiURL, kubeconfig, version string) (*rest.Config, error) {
	c, err := surroundings{inPod, os.Getenv}.client(apiURL, kubeconfig)
	if err != nil {
		return nil, err
	}
	c.UserAgent = "percaled/" + version
	return c, nil
}

// Surroundings are what a pod is told of its cluster.
type surroundings struct {
	account string // directory of the service account
	getenv  func(string) string
}

func (s surroundings) client(apiURL, kubeconfig string) (*rest.Config, error) {
	if err := checkURL(apiURL); err != nil {
		return nil, err
	}
	read := s.fromPod
	if kubeconfig != "" {
		read = func(apiURL string) (*rest.Config, error) { return fromFile(apiURL, kubeconfig) }
	}
	c, err := read(apiURL)
	if err != nil {
		return nil, err
	}
	c.QPS, c.Burst = 10, 20 // requests each second: we have few, and retry slowly
	return c, nil
}

func checkURL(apiURL string) error {
	if apiURL == "" {
		return nil
	}
	u, err := url.Parse(apiURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return fmt.Errorf("--kube-api-url %.200q: want a URL such as https://192.0.2.1:6443, without user and password", apiURL)
	}
	return nil
}

// fromFile reads a kubeconfig. The URL, if there is one, stands for that of its
// current cluster.
func fromFile(apiURL, path string) (*rest.Config, error) {
	wrong := func(err error) error {
		return fmt.Errorf("--kubeconfig-file %q: %w: want a kubeconfig that kubectl --kubeconfig works with, "+
			"or no such flag in a pod with a service account", path, err)
	}
	file, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return nil, wrong(err)
	}
	if err := clientcmd.ResolveLocalPaths(file); err != nil {
		return nil, wrong(err)
	}
	var over clientcmd.ConfigOverrides
	over.ClusterInfo.Server = apiURL
	c, err := clientcmd.NewNonInteractiveClientConfig(*file, "", &over, nil).ClientConfig()
	if err != nil {
		return nil, wrong(err)
	}
	return c, nil
}

// errNoAPI says that nothing tells where the API server is.
var errNoAPI = errors.New("reach the API server: neither --kubeconfig-file nor --kube-api-url is given, and KUBERNETES_SERVICE_HOST and " +
	"KUBERNETES_SERVICE_PORT are not set, so this is no pod: give --kubeconfig-file, or run percaled as the DaemonSet that comes with it")

// fromPod goes by the service account of our pod.
func (s surroundings) fromPod(apiURL string) (*rest.Config, error) {
	if u, err := url.Parse(apiURL); err == nil && u.Scheme == "http" {
		return &rest.Config{Host: apiURL}, nil // such as kubectl proxy; no token goes there in the clear
	}
	if apiURL == "" {
		host, port := s.getenv("KUBERNETES_SERVICE_HOST"), s.getenv("KUBERNETES_SERVICE_PORT")
		if host == "" || port == "" {
			return nil, errNoAPI
		}
		apiURL = "https://" + net.JoinHostPort(host, port)
	}
	c := &rest.Config{Host: apiURL, BearerTokenFile: filepath.Join(s.account, "token")}
	c.CAFile = filepath.Join(s.account, "ca.crt")
	for _, file := range []string{c.BearerTokenFile, c.CAFile} {
		if _, err := os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("reach the API server %s: read the pod's service account: %w: give --kubeconfig-file, "+
				"or remove automountServiceAccountToken: false from the pod", apiURL, err)
		}
	}
	return c, nil
}

// NodeName returns the name of our node in Kubernetes: the variable NODE_NAME,
// else that of the node on which the pod POD_NAME of POD_NAMESPACE runs, which
// takes a request.
func NodeName(ctx context.Context, c *rest.Config, getenv func(string) string) (string, error) {
	if name := getenv("NODE_NAME"); name != "" {
		return name, nil
	}
	namespace, pod := getenv("POD_NAMESPACE"), getenv("POD_NAME")
	if namespace == "" || pod == "" {
		return "", errors.New("learn the node's name: want NODE_NAME from the pod's spec.nodeName (fieldRef), or POD_NAMESPACE and POD_NAME, " +
			"in the environment; outside of a pod --node-name")
	}
	a, err := newAPI(c)
	if err != nil {
		return "", err
	}
	b, err := a.do(ctx, request{verb: http.MethodGet, path: []string{"api", "v1", "namespaces", namespace, "pods", pod}})
	if err != nil {
		return "", fmt.Errorf("learn the node's name of pod %s/%s: %w: set NODE_NAME from spec.nodeName (fieldRef), which takes no request", namespace, pod, err)
	}
	var p struct {
		Spec struct {
			NodeName string `json:"nodeName"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(b, &p); err != nil || p.Spec.NodeName == "" {
		return "", fmt.Errorf("learn the node's name of pod %s/%s: it has no spec.nodeName (%v)", namespace, pod, err)
	}
	return p.Spec.NodeName, nil
}
