// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

// maxWords bounds each text of a failure, in bytes: it goes into the log of the
// runtime and into an event of the pod, and may quote what came in.
const maxWords = 1000

// A failure is an error as the specification has it; the library's own leaves
// out the version.
type failure struct {
	CNIVersion string `json:"cniVersion"`
	Code       uint   `json:"code"`
	Msg        string `json:"msg"`
	Details    string `json:"details,omitempty"`
}

// print writes the failure as one JSON object.
func (f failure) print(w io.Writer) error {
	f.Msg, f.Details = short(f.Msg), short(f.Details)
	b, err := json.MarshalIndent(f, "", "    ")
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

func short(s string) string {
	if len(s) <= maxWords {
		return s
	}
	return strings.ToValidUTF8(s[:maxWords], "") + "…"
}

// newFailure makes err that of a call with a configuration of version v, or of
// one that never got as far as to have any: "".
func newFailure(v string, err *types.Error) failure {
	if v == "" {
		v = version.Current()
	}
	return failure{CNIVersion: v, Code: err.Code, Msg: err.Msg, Details: err.Details}
}
