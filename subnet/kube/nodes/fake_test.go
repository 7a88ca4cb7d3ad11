// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
)

// A liar answers as an API server does until it is told to answer otherwise. It
// is for what a real one cannot be made to do.
type liar struct {
	mu      sync.Mutex
	version uint64
	nodes   map[string]*corev1.Node
	changed chan struct{} // closed with the next change
	log     []change
	floor   uint64                                            // versions below are forgotten: 410
	say     func(w http.ResponseWriter, r *http.Request) bool // answers instead, if it returns true
	cfg     *rest.Config
}

// A change is an event and its version.
type change struct {
	version uint64
	kind    string
	node    *corev1.Node
}

func newLiar(t *testing.T) *liar {
	t.Helper()
	l := &liar{version: 100, nodes: make(map[string]*corev1.Node), changed: make(chan struct{})}
	s := httptest.NewUnstartedServer(l)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	l.cfg = &rest.Config{Host: s.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	return l
}

// put makes or changes a Node, given as aNode has it.
func (l *liar) put(name string, annotations ...string) *corev1.Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	kind := "MODIFIED"
	if l.nodes[name] == nil {
		kind = "ADDED"
	}
	n := aNode(name, "", annotations...)
	l.noteLocked(kind, n)
	l.nodes[name] = n
	return n
}

func (l *liar) drop(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[name].DeepCopy()
	delete(l.nodes, name)
	l.noteLocked("DELETED", n)
}

func (l *liar) noteLocked(kind string, n *corev1.Node) {
	l.version++
	n.ResourceVersion = strconv.FormatUint(l.version, 10)
	l.log = append(l.log, change{l.version, kind, n})
	close(l.changed)
	l.changed = make(chan struct{})
}

// become changes how it answers.
func (l *liar) become(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	l.mu.Lock()
	say, now, floor := l.say, l.version, l.floor
	l.mu.Unlock()
	asked, _ := strconv.ParseUint(q.Get("resourceVersion"), 10, 64)
	switch {
	case say != nil && say(w, r):
	case q.Has("watch") && asked < floor:
		refuse(w, http.StatusGone, "Expired", "")
	case q.Has("watch"):
		l.watch(w, r, asked)
	case asked > now:
		refuse(w, http.StatusGatewayTimeout, "Timeout", "ResourceVersionTooLarge")
	default:
		l.list(w, r)
	}
}

func refuse(w http.ResponseWriter, code int, reason, cause string) {
	s := &metav1.Status{Code: int32(code), Reason: metav1.StatusReason(reason), Message: "refused: " + reason}
	if cause != "" {
		s.Details = &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: metav1.CauseType(cause)}}}
	}
	w.Header().Set("Content-Type", binaryType)
	w.WriteHeader(code)
	w.Write(encodeOrPanic(s))
}

func (l *liar) list(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name, one := strings.CutPrefix(r.URL.Query().Get("fieldSelector"), "metadata.name=")
	var all []*corev1.Node
	for _, n := range l.nodes {
		if !one || n.Name == name {
			all = append(all, n)
		}
	}
	w.Header().Set("Content-Type", binaryType)
	w.Write(encodeOrPanic(listOf(!strings.Contains(r.Header.Get("Accept"), "as="), strconv.FormatUint(l.version, 10), "", all...)))
}

// watch tells of the changes after a version, and of more as they come.
func (l *liar) watch(w http.ResponseWriter, r *http.Request, version uint64) {
	w.Header().Set("Content-Type", binaryType+";stream=watch")
	w.WriteHeader(http.StatusOK)
	for {
		l.mu.Lock()
		log, changed, say := l.log, l.changed, l.say
		l.mu.Unlock()
		if say != nil && say(w, r) {
			return
		}
		for _, c := range log {
			if c.version > version {
				version = c.version
				w.Write(frameOrPanic(c.kind, metadataOf(c.node)))
			}
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func encodeOrPanic(obj runtime.Object) []byte { return encode(panics{}, obj) }

func frameOrPanic(kind string, obj runtime.Object) []byte { return frame(panics{}, kind, obj) }

// panics is a testing.TB for goroutines that are not the test's.
type panics struct{ testing.TB }

func (panics) Helper()           {}
func (panics) Fatal(args ...any) { panic(args) }
