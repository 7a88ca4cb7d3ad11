// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
)

// A Process identifies a process for good: a reused id has another start.
type Process struct {
	PID   int
	Start uint64 // clock ticks since boot (field 22 of /proc/PID/stat)
}

// spawn starts argv in a namespace, apart from our terminal, its output
// appended to the file log.
func spawn(ns netns.NS, log string, argv []string) (Process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return Process{}, err
	}
	defer f.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // ^C at the terminal is ours to handle
	if err := ns.Start(cmd); err != nil {
		return Process{}, fmt.Errorf("start %s in %s: %w", filepath.Base(argv[0]), ns.Name(), err)
	}
	p := Process{PID: cmd.Process.Pid}
	p.Start, err = startTime(p.PID)
	go cmd.Wait() // or it stays a zombie while we live
	return p, err
}

// startTime reads when a process started.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStart(b)
}

// parseStart reads field 22 of /proc/PID/stat. The command name, field 2, may
// hold anything, so counting begins behind its closing parenthesis.
func parseStart(stat []byte) (uint64, error) {
	i := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[i+1:]))
	if i < 0 || len(fields) < 20 {
		return 0, fmt.Errorf("read process state %.40q: want 22 fields or more", stat)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// open returns a handle on the process, or an error that is os.ErrProcessDone
// if it has ended, whoever bears its id now.
func (p Process) open() (int, error) {
	if p.PID <= 0 {
		return -1, os.ErrProcessDone
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return -1, os.ErrProcessDone
	}
	if start, err := startTime(p.PID); err != nil || start != p.Start || exited(fd) {
		unix.Close(fd)
		return -1, os.ErrProcessDone
	}
	return fd, nil
}

// Running reports whether the process lives.
func (p Process) Running() bool {
	fd, err := p.open()
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// signal sends sig and waits until the process has ended or ctx has. A process
// that is gone already is success.
func (p Process) signal(ctx context.Context, sig unix.Signal) error {
	fd, err := p.open()
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return waitExit(ctx, fd)
}

// pause stops the process until SIGCONT, and waits until all of it stands
// still.
func (p Process) pause() error {
	if err := p.send(unix.SIGSTOP); err != nil {
		return err
	}
	for {
		still, err := p.still()
		if err != nil || still {
			return err
		}
		runtime.Gosched()
	}
}

// still reports whether each thread of the process is stopped.
func (p Process) still() (bool, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID))
	if err != nil || len(tasks) == 0 {
		return false, errors.Join(os.ErrProcessDone, err)
	}
	for _, task := range tasks {
		stat, err := os.ReadFile(task)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return false, fmt.Errorf("read state of process %d: %w", p.PID, err)
		}
		if !bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" T")) {
			return false, nil
		}
	}
	return true, nil
}

// send sends sig and waits for nothing. That the process is gone is an error.
func (p Process) send(sig unix.Signal) error {
	fd, err := p.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return nil
}

// waitExit blocks until the process behind a pidfd has ended.
func waitExit(ctx context.Context, fd int) error {
	for !exited(fd) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("wait for process to end: %w", err)
		}
		pollExit(fd, 50*time.Millisecond)
	}
	return nil
}

func exited(fd int) bool { return pollExit(fd, 0) }

// pollExit reports whether the process behind a pidfd ends within d.
func pollExit(fd int, d time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(d.Milliseconds()))
	return err == nil && n > 0
}
