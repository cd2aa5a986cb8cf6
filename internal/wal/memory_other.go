//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package wal

// allocMemory falls back to the Go heap where anonymous mappings are not at hand.
func allocMemory(size int) ([]byte, error) { return make([]byte, size), nil }

func freeMemory([]byte) {}
