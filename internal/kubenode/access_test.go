// SPDX-License-Identifier: Apache-2.0

package kubenode

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// stand is a server that only a bearer of its token may ask, and whose
// certificate only its own authority vouches for.
type stand struct {
	*httptest.Server
	account string // a pod's service account for it
	agent   string // of the last request
}

func newStand(t *testing.T) *stand {
	t.Helper()
	s := &stand{account: t.TempDir()}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.agent = r.UserAgent()
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"metadata":{"uid":"u"}}`)
	}))
	t.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	err := errors.Join(os.WriteFile(filepath.Join(s.account, "token"), []byte("s3cret"), 0o600),
		os.WriteFile(filepath.Join(s.account, "ca.crt"), ca, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pod is what a pod finds around it.
func (s *stand) pod(t *testing.T) surroundings {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"KUBERNETES_SERVICE_HOST": u.Hostname(), "KUBERNETES_SERVICE_PORT": u.Port()}
	return surroundings{s.account, func(k string) string { return env[k] }}
}

// kubeconfig writes one for the stand, with paths relative to it.
func (s *stand) kubeconfig(t *testing.T, server string) string {
	t.Helper()
	path := filepath.Join(s.account, "kubeconfig."+url.QueryEscape(server))
	text := fmt.Sprintf("{apiVersion: v1, kind: Config, current-context: x, clusters: [{name: x, cluster: {server: %q, "+
		"certificate-authority: ca.crt}}], users: [{name: x, user: {tokenFile: token}}], contexts: [{name: x, context: {cluster: x, user: x}}]}", server)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestClientReachesTheServer(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	nowhere := surroundings{"/nowhere", func(string) string { return "" }}
	for _, tt := range []struct {
		what, url, kubeconfig string
		around                surroundings
	}{
		{"a pod", "", "", s.pod(t)},
		{"a pod with another address", s.URL, "", surroundings{s.account, nowhere.getenv}},
		{"a kubeconfig", "", s.kubeconfig(t, s.URL), nowhere},
		{"a kubeconfig with another address", s.URL, s.kubeconfig(t, "https://192.0.2.1:6443"), s.pod(t)},
	} {
		c, err := tt.around.client(tt.url, tt.kubeconfig)
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
			continue
		}
		if own, err := look(t, c); err != nil || own != "u" {
			t.Errorf("%s: node %q, %v; want an answer", tt.what, own, err)
		}
		if c.Timeout != 0 {
			t.Errorf("%s: Timeout = %v; want none, as it would end watches", tt.what, c.Timeout)
		}
	}
}

func look(t *testing.T, c *rest.Config) (string, error) {
	t.Helper()
	teller, err := NewTeller(c, "n1", NewStory(true), nil)
	if err != nil {
		return "", err
	}
	own, err := teller.Look(t.Context())
	return own.UID, err
}

func TestClientSaysWhoAsks(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	c, err := Client("", s.kubeconfig(t, s.URL), "v1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := look(t, c); err != nil || s.agent != "percaled/v1" {
		t.Errorf("asked by %q, %v; want percaled/v1", s.agent, err)
	}
}

// No token goes over the wire in the clear.
func TestPlainURLGetsNoToken(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	c, err := s.pod(t).client("http://127.0.0.1:8001", "")
	if err != nil || c.BearerToken != "" || c.BearerTokenFile != "" {
		t.Errorf("client = %v, %v; want no token", c, err)
	}
}

func TestClientRefuses(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	bad, none := filepath.Join(t.TempDir(), "bad"), filepath.Join(t.TempDir(), "none")
	if err := os.WriteFile(bad, []byte("a: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	nowhere := surroundings{"/nowhere", func(string) string { return "" }}
	unmounted := s.pod(t)
	unmounted.account = "/nowhere"
	for _, tt := range []struct {
		url, kubeconfig string
		around          surroundings
		want            []string
	}{
		{"", "", nowhere, []string{"--kubeconfig-file", "KUBERNETES_SERVICE_HOST"}},
		{"", "", unmounted, []string{"/nowhere/token", "automountServiceAccountToken"}},
		{"192.0.2.1:6443", "", nowhere, []string{"--kube-api-url \"192.0.2.1:6443\"", "https://192.0.2.1:6443"}},
		{"https://u:p@192.0.2.1", "", nowhere, []string{"--kube-api-url", "without user and password"}},
		{"https://192.0.2.1", "", nowhere, []string{"/nowhere/token", "--kubeconfig-file"}},
		{"", none, s.pod(t), []string{"--kubeconfig-file", none, "no such file"}},
		{"", bad, s.pod(t), []string{"--kubeconfig-file", bad, "want a kubeconfig"}},
		{"", os.DevNull, s.pod(t), []string{"--kubeconfig-file", "want a kubeconfig"}},
	} {
		c, err := tt.around.client(tt.url, tt.kubeconfig)
		if err == nil || c != nil {
			t.Errorf("client(%q, %q) = %v, %v; want an error", tt.url, tt.kubeconfig, c, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("client(%q, %q): %v; want %q in it", tt.url, tt.kubeconfig, err, want)
			}
		}
	}
}

// What answers in the server's place is told of in one short line.
func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		code       int
		body, want string
	}{
		{502, "<html>" + strings.Repeat("x", 1<<20), "502: Bad Gateway"},
		{403, `{"message":"no\n\u001b[31m` + strings.Repeat("y", 5000) + `"}`, "403: no [31m"},
		{401, `{"message":"Unauthorized"}`, "401: Unauthorized: its token"},
		{200, "<html>", "read node n1"},
		{200, `{"metadata":7}`, "read node n1"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.code)
			fmt.Fprint(w, tt.body)
		}))
		_, err := look(t, &rest.Config{Host: s.URL})
		s.Close()
		if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 1400 || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("answer %d %.30s: %v; want %q", tt.code, tt.body, err, tt.want)
		}
	}
}

// A server that takes connections and says nothing holds a request up for a
// bounded time.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := newAPI(&rest.Config{Host: "http://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	a.timeout = 50 * time.Millisecond
	if _, err := a.do(t.Context(), request{verb: http.MethodGet, path: []string{"api"}}); err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("do = %v; want an end after %v", err, a.timeout)
	}
}
