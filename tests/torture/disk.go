package torture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

const (
	diskBytes    = 900 << 20 // of each node
	fillChunk    = 4 << 20
	straceWithin = 5 * time.Second
)

// mountDisks gives each node's directory a file system of its own in memory, and says whether that was allowed.
func mountDisks(t testing.TB, dir string, n int) bool {
	t.Helper()
	for i := range n {
		path := nodeDir(dir, i)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("chronik-torture", path, "tmpfs", 0, "size="+strconv.Itoa(diskBytes)); err != nil {
			t.Logf("no disks of their own: mount: %v", err)
			return false
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil {
				t.Errorf("unmount %s: %v", path, err)
			}
		})
	}
	return true
}

func nodeDir(dir string, node int) string { return filepath.Join(dir, fmt.Sprintf("node%d", node+1)) }

func ballast(dir string) string { return filepath.Join(dir, "ballast") }

// fill takes all the space of a node's disk.
func fill(dir string) error {
	f, err := os.Create(ballast(dir))
	if err != nil {
		return err
	}
	defer f.Close()
	zero := make([]byte, fillChunk)
	for size := len(zero); size > 0; {
		if _, err := f.Write(zero[:size]); errors.Is(err, syscall.ENOSPC) {
			size /= 4
		} else if err != nil {
			return fmt.Errorf("fill disk: %w", err)
		}
	}
	return nil
}

func unfill(dir string) error { return os.Remove(ballast(dir)) }

// hasStrace says whether system calls can be made to fail.
func hasStrace() bool {
	path, err := exec.LookPath("strace")
	if err != nil {
		return false
	}
	return exec.Command(path, "-qq", "-o", os.DevNull, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO", "true").Run() == nil
}

// tracer is a strace that changes what a process's system calls do.
type tracer struct{ cmd *exec.Cmd }

// inject attaches to a process: what is a rule of strace's for fdatasync.
func inject(pid int, what string) (*tracer, error) {
	cmd := exec.Command("strace", "-f", "-o", os.DevNull, "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:"+what, "-p", strconv.Itoa(pid))
	said, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	attached := make(chan error, 1)
	go func() {
		_, err := said.Read(make([]byte, 1)) // "attached"
		attached <- err
		_, _ = io.Copy(io.Discard, said)
	}()
	select {
	case err := <-attached:
		if err != nil {
			_ = cmd.Wait() // it has failed
			return nil, fmt.Errorf("strace: %w", err)
		}
		return &tracer{cmd}, nil
	case <-time.After(straceWithin):
		t := &tracer{cmd}
		t.detach()
		return nil, errors.New("strace does not attach")
	}
}

// detach lets the process go on undisturbed.
func (t *tracer) detach() {
	_ = t.cmd.Process.Signal(syscall.SIGINT) // it may have ended with the process
	_ = t.cmd.Wait()
}
