// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// What becomes of a file, as its directory tells it, and of the directory.
const envEvents = unix.IN_CLOSE_WRITE | unix.IN_MODIFY | unix.IN_MOVE | unix.IN_CREATE | unix.IN_DELETE |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// watchEnv kicks the kernel loop, which writes subnet.env, when somebody else
// has changed it. It blocks until ctx ends or the directory is gone.
func (a *Agent) watchEnv(ctx context.Context) error {
	if err := watchFile(ctx, a.settings.SubnetFile, a.kernels.Kick); err != nil {
		return fmt.Errorf("watch %s: %w", a.settings.SubnetFile, err)
	}
	return nil
}

// watchFile calls kick when a file of that name came, went or was changed, and
// once when it watches; for a path that ends with a slash, when any file of that
// directory did. It makes the directory if there is none.
func watchFile(ctx context.Context, path string, kick func()) error {
	dir, name := filepath.Split(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return watchFolder(ctx, dir, name, kick)
}

// watchFolder is watchFile for a folder that is there; a name "" stands for all
// files in it.
func watchFolder(ctx context.Context, dir, name string, kick func()) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("%w: sysctl fs.inotify.max_user_instances says how many programs of one user may watch files", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	defer f.Close()
	if _, err := unix.InotifyAddWatch(fd, dir, envEvents); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 4096) // many times the largest event
	for kick(); ; {
		n, err := f.Read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		concerns, gone := fileEvents(buf[:n], name)
		if concerns {
			kick()
		}
		if gone {
			return errors.New("its directory is gone")
		}
	}
}

// fileEvents reads what inotify(7) tells of a directory: whether the file of
// that name ("": any), or a loss of events, is among it, and whether the directory
// itself is gone.
func fileEvents(b []byte, name string) (concerns, gone bool) {
	for len(b) >= unix.SizeofInotifyEvent {
		mask := binary.NativeEndian.Uint32(b[4:])
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		if size > len(b) {
			return true, gone
		}
		of, _, _ := bytes.Cut(b[unix.SizeofInotifyEvent:size], []byte{0})
		lost := mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_IGNORED) != 0
		if name == "" || string(of) == name || lost || mask&unix.IN_Q_OVERFLOW != 0 {
			concerns = true
		}
		gone = gone || lost
		b = b[size:]
	}
	return concerns, gone
}
