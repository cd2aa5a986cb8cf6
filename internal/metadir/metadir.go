// Package metadir reads the metadata directory of a node that does not run, for chronikctl metadata dump and verify.
//
// Why it exists: when no node starts any more, no protocol can tell what a directory holds. The tools speak Kafka's protocol and know
// nothing of files, so this is the one package below the servers that they may import for it, and it can do one thing: read. It runs the
// node's own recovery code on a file system that refuses every write.
//
// Invariants:
//
//  1. Nothing is written, created or synced, not even the lock file.
//  2. A directory whose node runs is refused; while it is read, no node can start on it.
//  3. What recovery would repair is reported, never passed over.
//
// Concurrency: one goroutine per Read.
package metadir

import (
	"fmt"
	"path/filepath"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/vfs"
)

// subdirectory is where a node keeps the metadata log below its data directory.
const subdirectory = "metadata"

// Entry is a committed entry of the log. Payload is valid only during the call.
type Entry struct {
	Offset  int64
	Epoch   int32
	Kind    string // event, epoch-start, voters, image-hash, noop
	Hash    [metalog.HashSize]byte
	Payload []byte
}

// Image is an image file of the directory.
type Image struct {
	Offset int64           // of the last entry in it
	Image  *metadata.Image // nil if it cannot be read
	Err    error
}

// Report is what a directory holds.
type Report struct {
	Start, Commit, End int64
	Epoch              int32
	FaultFrom          int64    // entries from here on may have been lost; -1
	Torn               bool     // the last write was cut short; what was in it was never acknowledged
	Damage             []string // what cannot be read
	Repaired           []string // what cannot be read, and was given again by other nodes since
	Images             []Image  // newest first
}

// Read reads the data directory of a node that does not run and calls take for every committed entry, in order. Checksums and the hash
// chain have been checked for each. A *vfs.LockedError says that the node runs.
func Read(dataDir string, take func(e *Entry) error) (*Report, error) {
	lock, err := vfs.ShareDir(dataDir)
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", dataDir, err)
	}
	defer func() { _ = lock.Close() }()
	var e Entry
	in, err := metalog.Inspect(vfs.OS, filepath.Join(dataDir, subdirectory), func(m *metalog.Entry) error {
		e = Entry{Offset: m.Offset, Epoch: int32(m.Epoch), Kind: m.Type.String(), Hash: m.Hash, Payload: m.Payload}
		return take(&e)
	})
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", dataDir, err)
	}
	r := &Report{Start: in.Start, Commit: in.Commit, End: in.End, Epoch: int32(in.Epoch), FaultFrom: -1, Torn: in.Torn, Damage: in.Damage, Repaired: in.Repaired}
	if in.Fault != nil {
		r.FaultFrom = in.Fault.From
	}
	for _, f := range in.Images {
		r.Images = append(r.Images, Image{Offset: f.End - 1, Image: f.Image, Err: f.Err})
	}
	return r, nil
}
