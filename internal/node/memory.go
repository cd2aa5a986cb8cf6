package node

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What lives on the heap is small; what fills it is responses that are garbage a moment later, and without a limit the runtime
// keeps the pages of the largest burst for minutes. So the limit follows what lives: near it the runtime collects and gives
// back at once. Below it garbage may be three times what lives: at half of what lives the collector took a quarter of the time of metadata
// changes. The WAL's ring, 128 MiB at most, lies outside the heap and is not counted.
//
// A start is different: what it reads stays, so that a limit or a small percentage would only make it collect again and again.
const (
	startPercent  = 200
	gcPercent     = 300
	leastLimit    = 144 << 20
	limitPerLive  = 2        // limit in multiples of the live heap, so that a large one is not collected all the time
	limitHeadroom = 64 << 20 // on top of that
	memoryPeriod  = 2 * time.Second
	// A process that allocates less than this in a period is at rest: it gives back what it holds above it.
	quietBytes = 4 << 20
	spareBytes = 24 << 20
)

// tuneMemoryForStart sets the garbage collector for the recovery, unless the environment says something.
func tuneMemoryForStart() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(startPercent)
	}
}

// tuneMemory sets the garbage collector for a node that serves, unless the environment says something.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		debug.SetMemoryLimit(memoryLimit(live[0].Value.Uint64()))
	}
}

// memoryLimit is the limit for a live heap.
func memoryLimit(live uint64) int64 {
	return max(leastLimit, limitPerLive*int64(live)+limitHeadroom)
}

// watchMemory adapts the limit, and returns memory to the system when the node is at rest.
func (n *Node) watchMemory(ctx context.Context) error {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/unused:bytes"},
	}
	adapt := os.Getenv("GOMEMLIMIT") == ""
	var allocated uint64
	tick := time.NewTicker(memoryPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		metrics.Read(samples)
		if adapt {
			debug.SetMemoryLimit(memoryLimit(samples[0].Value.Uint64()))
		}
		quiet := samples[1].Value.Uint64()-allocated < quietBytes
		allocated = samples[1].Value.Uint64()
		if quiet && samples[2].Value.Uint64()+samples[3].Value.Uint64() > spareBytes {
			debug.FreeOSMemory()
		}
	}
}
