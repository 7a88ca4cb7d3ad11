// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/status"
)

func TestHealth(t *testing.T) {
	board := status.NewBoard(status.Status{Waiting: "leasing a subnet"})
	var stuck error
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		Health(board, func() error { return stuck }).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	if code, _ := get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz while waiting = %d; want 200, since the process lives", code)
	}
	if code, body := get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "leasing a subnet") {
		t.Errorf("/readyz while waiting = %d %q; want 503 and why", code, body)
	}
	board.Update(func(s *status.Status) { s.Ready = true })
	if code, _ := get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz when ready = %d; want 200", code)
	}
	stuck = errors.New("the kernel loop has been in one round for 2m0s")
	if code, body := get("/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(body, stuck.Error()) {
		t.Errorf("/healthz of a stuck agent = %d %q; want 503 and why", code, body)
	}
	if code, _ := get("/status"); code != http.StatusNotFound {
		t.Errorf("/status on the health port = %d; want 404: it is for the socket alone", code)
	}
}

// TestReportCountsTheProcess asks twice, with more goroutines and a large block
// of memory in between.
func TestReportCountsTheProcess(t *testing.T) {
	ask := func() (s status.Status) {
		w := httptest.NewRecorder()
		Report(status.NewBoard(status.Status{}), func() error { return nil }).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/status", nil))
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := ask()
	end := make(chan struct{})
	defer close(end)
	for range 10 {
		go func() { <-end }()
	}
	block := make([]byte, 64<<20)
	after := ask()
	if before.Goroutines == 0 || after.Goroutines <= 10 {
		t.Errorf("goroutines %d, then %d; want these 10 and more", before.Goroutines, after.Goroutines)
	}
	if before.MemoryBytes == 0 || after.MemoryBytes < uint64(len(block)) {
		t.Errorf("memory %d, then %d; want %d at least", before.MemoryBytes, after.MemoryBytes, len(block))
	}
	runtime.KeepAlive(block)
}

func TestSocketIsOfRootAloneAndReplacesALeftover(t *testing.T) {
	dir := t.TempDir()
	left, err := net.Listen("unix", Socket(dir))
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	l, err := ListenSocket(dir)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(Socket(dir)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("socket has mode %v, %v; want 0600", st.Mode(), err)
	}
	board := status.NewBoard(status.Status{Node: "n1"})
	board.SetPeers([]status.Peer{{Node: "n2"}})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, Report(board, func() error { return nil })) }()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", Socket(dir))
	}}}
	defer client.CloseIdleConnections()
	for path, want := range map[string]string{"/status": `"node": "n1"`, "/peers": `"node": "n2"`, "/healthz": "running"} {
		res, err := client.Get("http://percaled" + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%s = %q, %v; want %q in it", path, body, err, want)
		}
		if path != "/healthz" && !json.Valid(body) {
			t.Errorf("%s is no JSON: %q", path, body)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Serve = %v when its context ended; want nil", err)
	}
}
