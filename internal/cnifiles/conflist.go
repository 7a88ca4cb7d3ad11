// SPDX-License-Identifier: Apache-2.0

// Package cnifiles puts on a node the files by which its container runtime uses
// percale-cni: the CNI configuration list and the plugins' programs. Each is
// replaced in one step, so that a runtime finds the old one or the new one,
// whole.
package cnifiles

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
)

// Name is what our configuration list is called. Of the files in a directory
// runtimes take the one whose name sorts first.
const Name = "10-percale.conflist"

// aside is the ending of what is set aside. No runtime reads files that end so.
const aside = ".percale-off"

// maxConf bounds a configuration, in bytes; a real one has some hundred.
const maxConf = 256 << 10

// errTooLarge says that a configuration is larger than any real one.
var errTooLarge = fmt.Errorf("it has more than %d KiB", maxConf>>10)

// isConf reports whether runtimes read a file of that name (containerd and
// CRI-O, by libcni).
func isConf(name string) bool {
	switch filepath.Ext(name) {
	case ".conf", ".conflist", ".json":
		return true
	}
	return false
}

// isOurs reports whether a plugin gives pods addresses of this node's subnet, as
// subnet.env tells it.
func isOurs(plugin string) bool { return plugin == "percale-cni" || plugin == "flannel" }

// handsOn reports whether a plugin stands first on purpose, and calls for each
// pod what stands after it.
func handsOn(plugin string) bool { return plugin == "multus" || plugin == "multus-shim" }

// Check says what is wrong with b as our configuration list; nil for nothing.
func Check(b []byte) error {
	if len(b) > maxConf {
		return errTooLarge
	}
	list, err := libcni.NetworkConfFromBytes(b)
	if err != nil {
		return fmt.Errorf(`%w: want a CNI configuration list, with "name", "cniVersion" and "plugins"`, err)
	}
	types := typesOf(list)
	switch {
	case list.Name == "":
		return errors.New(`"name" is empty: want one such as "cbr0", below which pod addresses are kept`)
	case list.CNIVersion == "":
		return errors.New(`"cniVersion" is missing: want "1.0.0", or what the container runtime knows`)
	case !slices.ContainsFunc(types, isOurs):
		return fmt.Errorf(`its plugins are %q: want one with "type": "percale-cni" among them`, types)
	}
	return nil
}

// pluginsOf returns the types of the plugins that a file of that name makes a
// runtime call.
func pluginsOf(name string, b []byte) ([]string, error) {
	if len(b) > maxConf {
		return nil, errTooLarge
	}
	if filepath.Ext(name) == ".conflist" {
		list, err := libcni.NetworkConfFromBytes(b)
		if err != nil {
			return nil, err
		}
		return typesOf(list), nil
	}
	one, err := libcni.NetworkPluginConfFromBytes(b)
	if err != nil {
		return nil, err
	}
	return []string{one.Network.Type}, nil
}

func typesOf(list *libcni.NetworkConfigList) []string {
	var types []string
	for _, p := range list.Plugins {
		types = append(types, p.Network.Type)
	}
	return types
}

// A Rival is a configuration that runtimes take in place of ours.
type Rival struct {
	Name    string   // of the file
	Plugins []string // that it calls; nil: it cannot be read
	Err     error    // why not
}

// Serves reports whether pods get addresses of this node's subnet all the same.
func (r Rival) Serves() bool { return slices.ContainsFunc(r.Plugins, isOurs) }

// String says what r means for new pods.
func (r Rival) String() string {
	what := "its plugins wire new pods: " + strings.Join(r.Plugins, ", ")
	switch {
	case r.Err != nil:
		what = fmt.Sprintf("it cannot be read, at which some runtimes stop: %v", r.Err)
	case r.Serves():
		what += ", with addresses of this node's subnet"
	}
	return fmt.Sprintf("%q comes before %s, so %s", r.Name, Name, what)
}

// Remedy is the command that sets r aside; dir is where it is.
func (r Rival) Remedy(dir string) string {
	path := filepath.Join(dir, r.Name)
	return fmt.Sprintf("mv %q %q", path, path+aside)
}
