// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// explain says what an etcd error means and what helps. It names endpoints and
// the user, never the password.
func (s *Store) explain(what string, err error) error {
	user := s.cfg.Username
	is := func(target error) bool { return errors.Is(rpctypes.Error(err), target) }
	switch {
	case is(rpctypes.ErrAuthFailed):
		return fmt.Errorf("%s: etcd refuses user %q: the name or the password is wrong; check --etcd-username and --etcd-password: %w", what, user, err)
	case is(rpctypes.ErrUserEmpty):
		return fmt.Errorf("%s: etcd demands a user; give --etcd-username and --etcd-password: %w", what, err)
	case is(rpctypes.ErrPermissionDenied):
		return fmt.Errorf("%s: etcd does not allow it to user %q; give one of the user's roles the right: "+
			"etcdctl role grant-permission --prefix ROLE readwrite %s/: %w", what, user, strings.TrimSuffix(s.cfg.Prefix, "/"), err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: etcd at %s does not answer within %v; does it run and have a leader, and does a firewall let TCP through?", what, s.endpoints(), requestLimit)
	default:
		return fmt.Errorf("%s: etcd at %s: %w", what, s.endpoints(), err)
	}
}

func (s *Store) endpoints() string { return strings.Join(s.cfg.Endpoints, ", ") }

// gist returns what is the same in err while the same thing goes wrong: its
// text without the endpoint tried last, of which there may be several, and
// without the port that our side had. It is never "".
func (s *Store) gist(err error) string {
	text := err.Error()
	for _, e := range s.cfg.Endpoints {
		if u, err := url.Parse(e); err == nil {
			text = strings.ReplaceAll(text, u.Hostname(), "host")
		}
	}
	return "fault " + strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
}
