// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestRefusalText: whatever form an answer has, what it means can be read.
func TestRefusalText(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"kind":"Status","status":"Failure","message":"nodes is forbidden","reason":"Forbidden","code":403}`: "nodes is forbidden",
		`{"kind":"Status","message":""}`:          `{"kind":"Status","message":""}`,
		"<html>\n<h1>502 Bad Gateway</h1>\n":      "<html> <h1>502 Bad Gateway</h1>",
		`{"message":"` + strings.Repeat("a", 900): `{"message":"` + strings.Repeat("a", 188),
		"": "HTTP status 403",
	} {
		err := refusalOf(&http.Response{StatusCode: http.StatusForbidden, Body: io.NopCloser(strings.NewReader(body))})
		if err.Error() != want {
			t.Errorf("a refusal that says %.60q reads %.300q; want %q", body, err, want)
		}
	}
}
