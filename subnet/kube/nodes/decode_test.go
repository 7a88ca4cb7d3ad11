// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func readList(b []byte, whole bool) (listing, error) {
	l := listing{records: make(map[string]record)}
	err := l.read(bufio.NewReader(bytes.NewReader(b)), &trimmer{wanted: wanted, whole: whole}, func() {})
	return l, err
}

func TestReadList(t *testing.T) {
	t.Parallel()
	n1, n2 := aNode("n1", "7", "percale.io/subnets", "10.1.0.0/24"), aNode("n2", "9")
	n1.Spec = corev1.NodeSpec{PodCIDR: "10.1.0.0/24", PodCIDRs: []string{"10.1.0.0/24", "fd00::/64"}, ProviderID: "x"}
	n2.Spec.PodCIDR = "10.2.0.0/24" // an old server's
	n1.Status.Conditions = []corev1.NodeCondition{{
		Type: "Ready", Status: "True", Reason: "KubeletReady", Message: "ok", LastHeartbeatTime: metav1.Now(),
	}}
	want := map[string]record{
		"n1": {Node: Node{Name: "n1", UID: "uid-of-n1", Annotations: map[string]string{"percale.io/subnets": "10.1.0.0/24"}}, version: 7},
		"n2": {Node: Node{Name: "n2", UID: "uid-of-n2"}, version: 9},
	}
	l, err := readList(encode(t, listOf(false, "12", "token", n1, n2)), false)
	if err != nil || l.version != 12 || l.more != "token" || !reflect.DeepEqual(l.records, want) {
		t.Errorf("metadata = %+v, %v; want version 12, more, %+v", l, err, want)
	}
	r1, r2 := want["n1"], want["n2"]
	r1.Whole, r1.PodCIDRs, r1.conditions = true, n1.Spec.PodCIDRs, []Condition{{"Ready", "True", "KubeletReady", "ok"}}
	r2.Whole, r2.PodCIDRs = true, []string{"10.2.0.0/24"}
	want = map[string]record{"n1": r1, "n2": r2}
	l, err = readList(encode(t, listOf(true, "12", "", n1, n2)), true)
	if err != nil || l.version != 12 || l.more != "" || !reflect.DeepEqual(l.records, want) {
		t.Errorf("whole = %+v, %v; want version 12, %+v", l, err, want)
	}
}

// TestReadHalfAList: however little is missing, half a list is an error.
func TestReadHalfAList(t *testing.T) {
	t.Parallel()
	whole := encode(t, listOf(false, "12", "", aNode("n1", "7"), aNode("n2", "8")))
	end := len(whole)
	if l, err := readList(whole, false); err != nil || len(l.records) != 2 {
		t.Fatalf("the whole list = %v, %v", l, err)
	}
	for ; bytes.HasSuffix(whole[:end], []byte{0x1a, 0, 0x22, 0}[:4]) || end == len(whole); end -= 4 {
	} // the envelope ends with two empty fields, which say nothing
	for n := range end {
		if l, err := readList(whole[:n], false); err == nil {
			t.Fatalf("%d of %d bytes make the list %v; want an error", n, len(whole), l)
		}
	}
	huge := append(slices.Clone(magic), 0x12, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x12, 0xff, 0xff, 0xff, 0xff, 0x07)
	if _, err := readList(huge, false); !errors.Is(err, errTooLarge) {
		t.Errorf("an object of 2 GB: %v; want %v", err, errTooLarge)
	}
}

func TestTrimBounds(t *testing.T) {
	t.Parallel()
	n := aNode("n1", "1", "percale.io/small", "x", "percale.io/huge", strings.Repeat("h", 256<<10), "other/huge", strings.Repeat("o", 300_000))
	l, err := readList(encode(t, listOf(false, "1", "", n)), false)
	got := l.records["n1"]
	if err != nil || !maps.Equal(got.Annotations, map[string]string{"percale.io/small": "x"}) ||
		!maps.Equal(got.Oversize, map[string]int{"percale.io/huge": 256 << 10}) {
		t.Errorf("kept %.100v, oversize %v, %v; want the small one, and the size of the huge one", got.Annotations, got.Oversize, err)
	}
	many := aNode("n2", "1")
	for i := range 1000 {
		many.Annotations[fmt.Sprintf("percale.io/%04d", i)] = strings.Repeat("v", 1000)
	}
	l, err = readList(encode(t, listOf(false, "1", "", many)), false)
	got = l.records["n2"]
	if err != nil || len(got.Annotations) != maxValues/1000 || len(got.Oversize) != maxOversize || got.Annotations["percale.io/0000"] == "" {
		t.Errorf("kept %d annotations, told of %d more, %v; want %d, %d", len(got.Annotations), len(got.Oversize), err, maxValues/1000, maxOversize)
	}
	full := aNode("n3", "1")
	full.Spec.PodCIDRs = slices.Repeat([]string{strings.Repeat("1", 1000)}, 1000)
	for range 1000 {
		full.Status.Conditions = append(full.Status.Conditions, corev1.NodeCondition{Type: "T", Message: strings.Repeat("m", 5000)})
	}
	l, err = readList(encode(t, listOf(true, "1", "", full)), true)
	got = l.records["n3"]
	if err != nil || len(got.PodCIDRs) != maxCIDRs || len(got.PodCIDRs[0]) != maxCIDR || len(got.conditions) != maxConditions || len(got.conditions[0].Message) != maxText {
		t.Errorf("kept %d pod CIDRs and %d conditions, %v", len(got.PodCIDRs), len(got.conditions), err)
	}
}

func TestTrimNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"n1": true, "ip-10-0-0-1.ec2.internal": true, strings.Repeat("a", maxName): true,
		"": false, "../../etc": false, "..": false, ".hidden": false, "a/b": false, "N1": false, "a\x1b[2J": false, strings.Repeat("a", maxName+1): false,
	} {
		l, err := readList(encode(t, listOf(false, "1", "", aNode(name, "1"))), false)
		if _, kept := l.records[name]; err != nil || kept != ok || (len(l.omitted) == 0) != ok {
			t.Errorf("name %.20q: kept %v, omitted %d, %v; want kept %v", name, kept, len(l.omitted), err, ok)
		}
	}
}

func TestDecodeEvent(t *testing.T) {
	t.Parallel()
	n := aNode("n1", "7", "percale.io/subnets", "10.1.0.0/24")
	status := &metav1.Status{Reason: "Expired", Message: "too old", Code: 410}
	for _, row := range []struct {
		frame []byte
		want  event
	}{
		{frame(t, "MODIFIED", metadataOf(n)), event{kind: "MODIFIED", ok: true, record: record{version: 7, Node: Node{
			Name: "n1", UID: "uid-of-n1", Annotations: map[string]string{"percale.io/subnets": "10.1.0.0/24"}}}}},
		{frame(t, "BOOKMARK", metadataOf(&corev1.Node{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "8"}})), event{kind: "BOOKMARK", record: record{version: 8}}},
		{frame(t, "ERROR", status), event{kind: "ERROR", err: &refusal{reason: "Expired", message: "too old"}}},
	} {
		got, err := decodeEvent(row.frame[4:], &trimmer{wanted: wanted}, new(object))
		if err != nil || !reflect.DeepEqual(got, row.want) {
			t.Errorf("decodeEvent = %+v, %v; want %+v", got, err, row.want)
		}
	}
}

func FuzzReadList(f *testing.F) {
	n := aNode("n1", "7", "percale.io/subnets", "10.1.0.0/24")
	n.Spec.PodCIDRs = []string{"10.1.0.0/24"}
	n.Status.Conditions = []corev1.NodeCondition{{Type: "Ready"}}
	f.Add(encode(f, listOf(true, "12", "token", n, aNode("n2", "3"))))
	f.Add(encode(f, listOf(false, "12", "", n)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, whole := range []bool{false, true} {
			l, err := readList(b, whole)
			if err != nil && !errors.Is(err, errTooLarge) && err == io.EOF {
				t.Errorf("the error is io.EOF, which reads as the end")
			}
			for name, r := range l.records {
				checkRecord(t, name, r)
			}
		}
	})
}

func FuzzDecodeEvent(f *testing.F) {
	f.Add(frame(f, "ADDED", metadataOf(aNode("n1", "7", "percale.io/subnets", "10.1.0.0/24")))[4:])
	f.Add(frame(f, "ERROR", &metav1.Status{Reason: "Expired", Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: "ResourceVersionTooLarge"}}}})[4:])
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEvent(b, &trimmer{wanted: wanted}, new(object))
		if err == nil && e.ok {
			checkRecord(t, e.Name, e.record)
		}
	})
}

// checkRecord checks what must hold whatever a Node says.
func checkRecord(t *testing.T, name string, r record) {
	t.Helper()
	size := 0
	for k, v := range r.Annotations {
		if size += len(v); !wanted(k) || len(v) > maxValue || len(k) > maxKey {
			t.Errorf("annotation %.50q of %d bytes is kept", k, len(v))
		}
	}
	if name != r.Name || !isName([]byte(name)) || size > maxValues || len(r.Annotations) > maxKept ||
		len(r.Oversize) > maxOversize || len(r.PodCIDRs) > maxCIDRs || len(r.conditions) > maxConditions {
		t.Errorf("beyond its bounds: %.300v", r)
	}
}
