// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"testing"
)

// image is the name under which containerd knows the image of the tests.
const image = "percale.test/pod:1"

// buildImage makes an archive of an OCI image that holds the program ./pod and
// nothing else, and returns its file.
func buildImage(t *testing.T, dir string) string {
	t.Helper()
	program := filepath.Join(dir, "pod")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, "./pod")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build ./pod: %v: %s", err, out)
	}
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	layer := archive(t, map[string][]byte{"pod": b})
	blobs := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	add := func(kind string, content []byte) conf {
		digest := fmt.Sprintf("%x", sha256.Sum256(content))
		blobs["blobs/sha256/"+digest] = content
		return conf{"mediaType": "application/vnd.oci.image." + kind, "digest": "sha256:" + digest, "size": len(content)}
	}
	asJSON := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	rootfs := add("layer.v1.tar", layer)
	config := add("config.v1+json", asJSON(conf{
		"architecture": goruntime.GOARCH, "os": "linux", "config": conf{"Entrypoint": []string{"/pod"}, "Cmd": []string{"pause"}},
		"rootfs": conf{"type": "layers", "diff_ids": []any{rootfs["digest"]}},
	}))
	manifest := add("manifest.v1+json", asJSON(conf{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []any{rootfs},
	}))
	manifest["annotations"] = conf{"io.containerd.image.name": image}
	blobs["index.json"] = asJSON(conf{"schemaVersion": 2, "manifests": []any{manifest}})
	file := filepath.Join(dir, "image.tar")
	if err := os.WriteFile(file, archive(t, blobs), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// archive returns a tar archive of programs.
func archive(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
