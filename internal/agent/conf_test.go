// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/subnet/local"
)

// A confStore answers with a net-conf, or not at all.
type confStore struct {
	Store
	conf string // "": no answer
}

func (s *confStore) NetConf(ctx context.Context) ([]byte, error) {
	if s.conf == "" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return []byte(s.conf), nil
}

// What an agent worked by before its start, perhaps weeks ago, must not come
// back when a newer configuration is known.
func TestNewConfIsTakenWhenTheStoreIsAwayAgain(t *testing.T) {
	const before, after = `{"Network": "10.42.0.0/16"}`, `{"Network": "10.43.0.0/16"}`
	synctest.Test(t, func(t *testing.T) {
		store := &confStore{conf: before}
		a := New(config.Settings{}, "test", slog.New(slog.DiscardHandler))
		a.ending.Store(true) // tells nobody
		a.store, a.began = store, time.Now()
		a.known = local.Known{Conf: []byte(before), At: time.Now().Add(-time.Hour)}
		if err := a.takeConf(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		store.conf = after
		if _, err := a.confRound(t.Context()); !errors.Is(err, errNewConf) {
			t.Fatalf("confRound = %v; want a new configuration", err)
		}
		store.conf = ""
		if err := a.takeConf(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := a.conf.Pools.V4.Network.String(); got != "10.43.0.0/16" {
			t.Errorf("the network is %s; want the new one", got)
		}
	})
}
