// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/percale-net/percale/subnet/local"
)

// A request is what one call asks for: the variables of the specification, and
// standard input. The specification's library reads it too, but takes a tenth of
// the time that a process takes which does nothing, most of it for regular
// expressions.
type request struct {
	ContainerID, Netns, IfName, Args string
	StdinData                        []byte
}

// A verb is one value of CNI_COMMAND.
type verb struct {
	name  string
	serve func(*request) error
	since string   // the first version of the specification that has it
	needs []string // variables
}

func verbOf(name string) (verb, bool) {
	of := []string{"CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"}
	v, ok := map[string]verb{
		"ADD":    {"ADD", add, "0.1.0", append(of, "CNI_NETNS")},
		"DEL":    {"DEL", del, "0.1.0", of},
		"CHECK":  {"CHECK", check, "0.4.0", append(of, "CNI_NETNS")},
		"GC":     {"GC", gc, "1.1.0", []string{"CNI_PATH"}},
		"STATUS": {"STATUS", status, "1.1.0", []string{"CNI_PATH"}},
	}[name]
	return v, ok
}

// serve serves a call. used is the version of its configuration, if it got as
// far as to have one of ours.
func serve(stdin io.Reader, stdout io.Writer) (used string, failed *types.Error) {
	versions := version.PluginSupports("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
	name := os.Getenv("CNI_COMMAND")
	if name == "VERSION" {
		if err := versions.Encode(stdout); err != nil {
			return "", coded(types.ErrIOFailure, err)
		}
		return "", nil
	}
	v, ok := verbOf(name)
	if !ok {
		return "", codef(types.ErrInvalidEnvironmentVariables, "CNI_COMMAND=%.60q: want ADD, DEL, CHECK, GC, STATUS or VERSION", name)
	}
	if missing := slices.DeleteFunc(v.needs, func(s string) bool { return os.Getenv(s) != "" }); len(missing) > 0 {
		return "", codef(types.ErrInvalidEnvironmentVariables, "%s needs %s in the environment", name, strings.Join(missing, ", "))
	}
	text, err := io.ReadAll(stdin)
	if err != nil {
		return "", codef(types.ErrIOFailure, "read standard input: %w", err)
	}
	if used, failed = v.versionOf(text, versions); failed != nil {
		return "", failed
	}
	r := &request{os.Getenv("CNI_CONTAINERID"), os.Getenv("CNI_NETNS"), os.Getenv("CNI_IFNAME"), os.Getenv("CNI_ARGS"), text}
	if err := v.serve(r); err != nil {
		return used, coded(types.ErrInternal, err)
	}
	return used, nil
}

// versionOf returns the version of a configuration, if it is one of ours and has
// the verb.
func (v verb) versionOf(stdin []byte, ours version.PluginInfo) (string, *types.Error) {
	var c struct {
		CNIVersion string `json:"cniVersion"`
		Name       string `json:"name"`
	}
	if err := decode("", stdin, &c); err != nil {
		return "", coded(types.ErrDecodingFailure, err)
	}
	if len(stdin) == 0 {
		return "", codef(types.ErrDecodingFailure, "network configuration: there is none on standard input")
	}
	if _, err := local.NewStore("", c.Name); err != nil {
		return "", codef(types.ErrInvalidNetworkConfig, "network configuration: %w", err)
	}
	if !slices.Contains(ours.SupportedVersions(), c.CNIVersion) {
		e := codef(types.ErrIncompatibleCNIVersion, "network configuration: cniVersion %.60q: want a version that percale-cni knows", c.CNIVersion)
		e.Details = fmt.Sprintf("it knows %s", strings.Join(ours.SupportedVersions(), ", "))
		return "", e
	}
	if has, err := version.GreaterThanOrEqualTo(c.CNIVersion, v.since); err != nil || !has {
		return "", codef(types.ErrIncompatibleCNIVersion, "network configuration: cniVersion %s does not allow %s: that came with %s", c.CNIVersion, v.name, v.since)
	}
	return c.CNIVersion, nil
}
