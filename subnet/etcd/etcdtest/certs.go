// SPDX-License-Identifier: Apache-2.0

package etcdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"testing"
	"time"
)

// certify writes a CA, and certificates by it for the server and for a client.
func (s *Server) certify(tb testing.TB) {
	tb.Helper()
	s.CAFile, s.CertFile, s.KeyFile = s.file("ca.pem"), s.file("client.pem"), s.file("client.key")
	ca := authority{tb: tb, cert: template("etcdtest CA", 1)}
	ca.cert.IsCA, ca.cert.BasicConstraintsValid, ca.cert.KeyUsage = true, true, x509.KeyUsageCertSign
	ca.key = newKey(tb)
	ca.write(s.CAFile, ca.cert, &ca.key.PublicKey)

	server := template("etcdtest server", 2)
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	ca.issue(server, s.file("server.pem"), s.file("server.key"))

	client := template("etcdtest client", 3)
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	ca.issue(client, s.CertFile, s.KeyFile)
}

// An authority signs certificates.
type authority struct {
	tb   testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (ca authority) issue(cert *x509.Certificate, certFile, keyFile string) {
	key := newKey(ca.tb)
	ca.write(certFile, cert, &key.PublicKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		ca.tb.Fatal(err)
	}
	writePEM(ca.tb, keyFile, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (ca authority) write(file string, cert *x509.Certificate, key *ecdsa.PublicKey) {
	der, err := x509.CreateCertificate(rand.Reader, cert, ca.cert, key, ca.key)
	if err != nil {
		ca.tb.Fatal(err)
	}
	writePEM(ca.tb, file, &pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func template(name string, serial int64) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:      pkix.Name{CommonName: name},
		SerialNumber: big.NewInt(serial),
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
	}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func writePEM(tb testing.TB, file string, block *pem.Block) {
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		tb.Fatal(err)
	}
}
