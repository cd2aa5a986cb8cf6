package node

import (
	"os"
	"runtime/debug"
)

// The heap is small beside the WAL's ring, which lies outside it, so collections are cheap and may be frequent; the limit
// makes the collector work harder before the process outgrows what an embedded broker should take.
const (
	gcPercent   = 50
	memoryLimit = 768 << 20
)

// tuneMemory sets the garbage collector, unless the environment says something.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
