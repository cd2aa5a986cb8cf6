// Package logdir reads the partition logs in the data directory of a node that does not run, for chronikctl partition verify --dir.
//
// Why it exists: whether replicas hold the same bytes must be told also when no node starts any more, and from the disks themselves, not
// from what a process says of them. As internal/metadir, which does this for the metadata log, it runs the node's own recovery code on a
// file system that refuses every write.
//
// Invariants:
//
//  1. Nothing is written, created or synced, not even the lock file.
//  2. A directory whose node runs is refused; while it is read, no node can start on it.
//  3. Every batch is read and its CRC verified. What cannot be read is the partition's Err, never passed over.
//
// Concurrency: one goroutine per Read.
package logdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
)

// Batch is one batch of a log.
type Batch = partition.BatchSum

// Log is a replica's log in a directory.
type Log struct {
	Topic       uuid.UUID
	Partition   int32
	Start, End  int64
	SegmentEnd  int64 // records below are in segments, the others in the write-ahead log
	Committed   int64 // records below are committed, as far as the directory says; there may be more
	LeaderEpoch int32
	Batches     []Batch // from Start on; as far as they can be read
	Err         error   // why not all of them can be read
}

// Directory is what a data directory holds.
type Directory struct {
	NodeID    int32 // whose directory it is
	ClusterID string
	Torn      bool // the last write was cut short; what was in it was never acknowledged
	Logs      []Log
}

// Read reads the data directory of a node that does not run: the logs that want chooses. A *vfs.LockedError says that the node runs.
func Read(dataDir string, want func(topic uuid.UUID, n int32) bool) (*Directory, error) {
	cluster, node, err := Identify(dataDir)
	if err != nil {
		return nil, err
	}
	d := &Directory{NodeID: node, ClusterID: cluster}
	lock, err := vfs.ShareDir(dataDir)
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", dataDir, err)
	}
	defer func() { _ = lock.Close() }()
	in, err := partition.Inspect(vfs.OS, dataDir)
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", dataDir, err)
	}
	d.Torn = in.Torn
	for i := range in.Logs {
		r := &in.Logs[i]
		if !want(r.ID.Topic, r.ID.Partition) {
			continue
		}
		l := Log{Topic: r.ID.Topic, Partition: r.ID.Partition, Start: r.Start, End: r.End, SegmentEnd: r.SegmentEnd, Committed: r.HighWatermark, LeaderEpoch: r.LeaderEpoch}
		l.Err = r.Batches(func(b Batch) error {
			l.Batches = append(l.Batches, b)
			return nil
		})
		d.Logs = append(d.Logs, l)
	}
	return d, nil
}

// Identify says whose directory it is, by the meta.properties that internal/node writes. node is -1 where that does not say.
func Identify(dataDir string) (cluster string, node int32, err error) {
	b, err := os.ReadFile(filepath.Join(dataDir, "meta.properties"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", -1, fmt.Errorf("read directory %s: it is not the data directory of a node: it has no meta.properties", dataDir)
	}
	if err != nil {
		return "", -1, fmt.Errorf("read directory %s: %w", dataDir, err)
	}
	node = -1
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "node.id":
			id, err := strconv.ParseInt(value, 10, 32)
			if err != nil {
				return "", -1, fmt.Errorf("read directory %s: node.id in meta.properties: %w", dataDir, err)
			}
			node = int32(id)
		case "cluster.id":
			cluster = value
		}
	}
	return cluster, node, nil
}
