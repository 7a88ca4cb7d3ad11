// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// explain says what an error means and what helps.
func (c *client) explain(what string, err error) error {
	at := fmt.Sprintf("watch %s: the API server at %s", what, c.base.Host)
	code := 0
	if r := (*refusal)(nil); errors.As(err, &r) {
		code = r.code
	}
	switch {
	case code == http.StatusUnauthorized:
		return fmt.Errorf("%s does not accept our token or certificate, so that we learn of no change; "+
			"look whether the service account is there and its token is mounted: kubectl -n kube-percale get serviceaccount percale: %w", at, err)
	case code == http.StatusForbidden:
		return fmt.Errorf("%s does not let us read them, so that we learn of no change; apply the manifest's roles again; what it has now: "+
			"kubectl auth can-i --list -n kube-percale --as=system:serviceaccount:kube-percale:percale: %w", at, err)
	case code == http.StatusTooManyRequests:
		return fmt.Errorf("%s is overloaded and puts us off; we try again: %w", at, err)
	case code == http.StatusNotFound || code == http.StatusNotAcceptable || errors.Is(err, errServer):
		return fmt.Errorf("%s does not answer as one; does --kube-api-url, or the kubeconfig, name the API server itself? %w", at, err)
	case errors.Is(err, errNoAnswer):
		return fmt.Errorf("%s does not answer within %v; does it run, and does a firewall let TCP through? curl -k https://%s/readyz", at, c.answer, c.base.Host)
	case errors.Is(err, errEnded):
		return fmt.Errorf("%s ends each watch as soon as it begins; it may be stopping, or a proxy before it may cut requests short: %w", at, err)
	default:
		return fmt.Errorf("%s: %w", at, err)
	}
}

// Gist returns what is the same in err while the same thing goes wrong: its
// text without numbers, such as the port that our side had. It is never "".
func Gist(err error) string {
	return "fault " + strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, err.Error())
}
