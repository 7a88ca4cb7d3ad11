// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"os"
)

// A Secret is a text that no printing shows, whatever the verb or encoder.
type Secret string

// Reveal returns the text, for the one place that must send it.
func (s Secret) Reveal() string { return string(s) }

// String returns a stand-in, or "" when there is nothing to hide.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(hidden)"
}

// Format prints the stand-in for every verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue hides the text in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the text in JSON and its like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// tls reads the TLS files; nil where none are given. A CA alone works.
func (c Config) tls() (*tls.Config, error) {
	if c.CertFile == "" && c.KeyFile == "" && c.CAFile == "" {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read --etcd-cafile: %w; give the certificate of the CA that signed the servers' ones (in a container: is it mounted?)", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read --etcd-cafile %s: it holds no certificate in PEM form; give the certificate of the CA that signed the servers' ones, not a key", c.CAFile)
		}
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, fmt.Errorf("--etcd-certfile %q and --etcd-keyfile %q: give both or none", c.CertFile, c.KeyFile)
	}
	if c.CertFile == "" {
		return out, nil
	}
	// Read at each handshake, so that a renewed certificate is taken without a
	// restart; once now, so that a bad one is told at once.
	load := func() (*tls.Certificate, error) {
		certPEM, err := os.ReadFile(c.CertFile)
		if err != nil {
			return nil, fmt.Errorf("read --etcd-certfile: %w; give our client certificate (in a container: is it mounted?)", err)
		}
		keyPEM, err := os.ReadFile(c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read --etcd-keyfile: %w; give the key of --etcd-certfile %s (in a container: is it mounted?)", err, c.CertFile)
		}
		cert, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			return nil, fmt.Errorf("read --etcd-certfile %s and --etcd-keyfile %s: %w; give a client certificate and its own key, both in PEM form", c.CertFile, c.KeyFile, err)
		}
		return &cert, nil
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return out, nil
}
