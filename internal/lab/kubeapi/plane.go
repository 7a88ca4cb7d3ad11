// SPDX-License-Identifier: Apache-2.0

// Package kubeapi prepares a real Kubernetes control plane for the lab and for
// tests: the certificates, tokens and command lines of kube-apiserver and
// kube-controller-manager, which e2e/kubeapi builds into one binary, and what a
// test asks of them. It starts no process.
package kubeapi

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/client-go/rest"
)

// Binary is the name of the binary that holds both servers.
const Binary = "kubeapi"

// Issuer is what the server says of itself in the tokens that it signs.
const Issuer = "https://kubernetes.default.svc.cluster.local"

// UserAgent is what the clients of Admin and As call themselves, so that the
// audit log tells tests from agents.
const UserAgent = "percale-lab"

// services are the service ranges: of the family of the server's address first,
// as the server demands.
var services = map[bool]string{true: "10.96.0.0/16,fd00:96::/112", false: "fd00:96::/112,10.96.0.0/16"}

// A Plane is a control plane: where its files are and where it listens. All of
// it follows from these fields and from what Write has once written.
type Plane struct {
	Dir      string         // its files; Write makes it
	Listen   netip.AddrPort // of the API server, which shows a certificate for it
	Etcd     string         // URL
	PodCIDRs []netip.Prefix // what Nodes are given parts of, a /24 or /64 each; none: spec.podCIDR stays as it is
	Args     []string       // further arguments for the API server
}

// Write makes the files of the control plane. Those that are there stay, so
// that a server which starts again honors the tokens that it signed before.
func (p Plane) Write() error {
	if _, err := os.Stat(p.path(adminToken)); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return err
	}
	if err := p.certify(); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	token := rand.Text()
	files := []struct{ name, text string }{
		{auditPolicy, auditRules},
		{tokens, token + ",admin,admin,system:masters\n"},
		{adminToken, token}, // last: it says that all are there
	}
	for _, f := range files {
		if err := os.WriteFile(p.path(f.name), []byte(f.text), 0o600); err != nil {
			return err
		}
	}
	return p.Kubeconfig(p.path(adminConf), p.path(adminToken))
}

// The files of a control plane.
const (
	caFile      = "ca.pem"
	serverCert  = "server.pem"
	serverKey   = "server.key"
	signingKey  = "service-account.key"
	tokens      = "tokens.csv"
	adminToken  = "admin.token"
	adminConf   = "admin.kubeconfig"
	auditPolicy = "audit-policy.yaml"
	auditLog    = "audit.log"
)

// auditRules has the server write down who asked for what, once per request,
// when it has been answered.
const auditRules = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// ServerArgs is the command line of kube-apiserver, behind the binary's name.
func (p Plane) ServerArgs() []string {
	return append([]string{
		"kube-apiserver",
		"--etcd-servers=" + p.Etcd,
		"--bind-address=" + p.Listen.Addr().String(),
		"--secure-port=" + strconv.Itoa(int(p.Listen.Port())),
		"--advertise-address=" + p.Listen.Addr().String(),
		"--endpoint-reconciler-type=none", // nothing here reaches it as a service
		"--service-cluster-ip-range=" + services[p.Listen.Addr().Is4()],
		"--tls-cert-file=" + p.path(serverCert),
		"--tls-private-key-file=" + p.path(serverKey),
		"--token-auth-file=" + p.path(tokens),
		"--authorization-mode=Node,RBAC",
		"--service-account-issuer=" + Issuer,
		"--service-account-key-file=" + p.path(signingKey),
		"--service-account-signing-key-file=" + p.path(signingKey),
		"--audit-policy-file=" + p.path(auditPolicy),
		"--audit-log-path=" + p.AuditLog(),
		"--allow-privileged=true",
		"--profiling=false",
	}, p.Args...)
}

// controllers are those that the agents' doings depend on: what an
// ownerReference ties goes with its owner, Nodes are given pod ranges, a
// namespace's content goes with it, and the expressions of policies are
// checked.
var controllers = []string{
	"garbage-collector-controller", "namespace-controller", "node-ipam-controller", "validatingadmissionpolicy-status-controller",
}

// ManagerArgs is the command line of kube-controller-manager, behind the
// binary's name.
func (p Plane) ManagerArgs() []string {
	args := []string{
		"kube-controller-manager",
		"--kubeconfig=" + p.path(adminConf),
		"--controllers=" + strings.Join(controllers, ","),
		"--leader-elect=false",
		"--secure-port=0",
	}
	if len(p.PodCIDRs) == 0 {
		return args
	}
	cidrs := make([]string, len(p.PodCIDRs))
	for i, c := range p.PodCIDRs {
		cidrs[i] = c.String()
	}
	return append(args, "--allocate-node-cidrs=true", "--cluster-cidr="+strings.Join(cidrs, ","))
}

// AuditLog is the file in which the API server writes down each request.
func (p Plane) AuditLog() string { return p.path(auditLog) }

// URL is where the API server answers.
func (p Plane) URL() string { return "https://" + p.Listen.String() }

// Admin returns what an administrator reaches the API server with. Nothing
// slows its requests down.
func (p Plane) Admin() *rest.Config {
	return &rest.Config{
		Host:            p.URL(),
		BearerTokenFile: p.path(adminToken),
		TLSClientConfig: rest.TLSClientConfig{CAFile: p.path(caFile)},
		UserAgent:       UserAgent,
		QPS:             -1,
	}
}

// As returns what the bearer of a token reaches the API server with.
func (p Plane) As(token string) *rest.Config {
	c := p.Admin()
	c.BearerTokenFile, c.BearerToken = "", token
	return c
}

// Kubeconfig writes a kubeconfig for the bearer of the token in tokenFile, which
// its reader reads anew from time to time.
func (p Plane) Kubeconfig(path, tokenFile string) error {
	text := fmt.Sprintf(kubeconfig, p.URL(), p.path(caFile), tokenFile)
	return os.WriteFile(path, []byte(text), 0o600)
}

const kubeconfig = `apiVersion: v1
kind: Config
current-context: lab
clusters:
- name: lab
  cluster: {server: %q, certificate-authority: %q}
users:
- name: lab
  user: {tokenFile: %q}
contexts:
- name: lab
  context: {cluster: lab, user: lab}
`

func (p Plane) path(name string) string { return filepath.Join(p.Dir, name) }
