//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package wal

import "golang.org/x/sys/unix"

// allocMemory returns zeroed memory outside the Go heap: the collector neither scans nor counts it, and pages take
// real memory only once they are touched.
func allocMemory(size int) ([]byte, error) {
	return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

func freeMemory(b []byte) { _ = unix.Munmap(b) }
