package node

import (
	"context"
	"time"
)

const (
	spacePeriod = 5 * time.Second
	// spaceWarning is how many times the low-water mark of appends may be free before it is worth a line in the log.
	spaceWarning = 4
)

// watchSpace keeps the free space at hand for metrics and says once when it becomes scarce, and once when it is back. The
// partition store refuses appends by itself.
func (n *Node) watchSpace(ctx context.Context) error {
	tick := time.NewTicker(spacePeriod)
	defer tick.Stop()
	scarce := false
	for {
		free, total, err := n.disk.FreeSpace(n.c.DataDir)
		if err != nil {
			n.logger.Warn("free space unknown", "dir", n.c.DataDir, "error", err)
		} else {
			n.free.Store(&free)
			if low := free < spaceWarning*uint64(n.c.MinFreeBytes); low != scarce {
				scarce = low
				if low {
					n.logger.Warn("disk space is getting scarce: appends are refused below min_free_bytes", "dir", n.c.DataDir, "free_bytes", free, "total_bytes", total, "min_free_bytes", n.c.MinFreeBytes)
				} else {
					n.logger.Info("disk space is back", "dir", n.c.DataDir, "free_bytes", free)
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
