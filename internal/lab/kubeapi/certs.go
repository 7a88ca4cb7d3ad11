// SPDX-License-Identifier: Apache-2.0

package kubeapi

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
	"time"
)

// lifetime of a certificate; no lab lives as long.
const lifetime = 30 * 24 * time.Hour

// certify writes a certificate authority, the server's certificate by it, and
// the key that signs service accounts' tokens.
func (p Plane) certify() error {
	ca := template("lab CA", 1)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if err := p.writeCert(caFile, signature{ca, ca, &caKey.PublicKey, caKey}); err != nil {
		return err
	}
	server := template("kube-apiserver", 2)
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.IPAddresses = []net.IP{p.Listen.Addr().AsSlice()}
	key, err := p.newKey(serverKey)
	if err != nil {
		return err
	}
	if err := p.writeCert(serverCert, signature{server, ca, &key.PublicKey, caKey}); err != nil {
		return err
	}
	_, err = p.newKey(signingKey)
	return err
}

// A signature is what a certificate is made of.
type signature struct {
	cert, by *x509.Certificate
	key      *ecdsa.PublicKey
	sign     *ecdsa.PrivateKey
}

func (p Plane) writeCert(name string, s signature) error {
	der, err := x509.CreateCertificate(rand.Reader, s.cert, s.by, s.key, s.sign)
	if err != nil {
		return err
	}
	return p.writePEM(name, &pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// newKey makes a key and writes it, in the form that the server takes both for
// signing and for checking.
func (p Plane) newKey(name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, p.writePEM(name, &pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func (p Plane) writePEM(name string, block *pem.Block) error {
	return os.WriteFile(p.path(name), pem.EncodeToMemory(block), 0o600)
}

func template(name string, serial int64) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:      pkix.Name{CommonName: name},
		SerialNumber: big.NewInt(serial),
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(lifetime),
	}
}
