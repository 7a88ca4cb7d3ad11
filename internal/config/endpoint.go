// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// endpoints replaces the list by a comma-separated one.
func endpoints(p *[]string) value {
	return value{
		mute: true,
		show: func() string { return strings.Join(*p, ",") },
		set: func(text string) error {
			*p = nil // so that no other check judges the default in place of a bad list
			var all []string
			for e := range strings.SplitSeq(text, ",") {
				if e = strings.TrimSpace(e); e == "" {
					continue
				}
				if err := checkEndpoint(e); err != nil {
					return err
				}
				scheme, rest, _ := strings.Cut(strings.TrimRight(e, "/"), "://")
				all = append(all, strings.ToLower(scheme)+"://"+rest)
			}
			if all == nil {
				return errors.New("want a comma list of URLs such as http://127.0.0.1:2379")
			}
			*p = all
			return nil
		},
	}
}

// checkEndpoint does not repeat what it refuses: a password may stand in it.
func checkEndpoint(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return errors.New("want a comma list of URLs such as http://127.0.0.1:2379 or https://etcd.example:2379")
	case u.User != nil:
		return errors.New("want URLs without user and password: these go into --etcd-username and --etcd-password")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return errors.New("want URLs that end after the port: where the keys are is set by --etcd-prefix")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.New("want URLs with a port from 1 to 65535")
		}
	}
	return nil
}
