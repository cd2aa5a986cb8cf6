package node

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
)

// Files of founding, in the data directory itself.
const (
	genesisFile    = "genesis.json"
	draftFile      = "founding.json" // gone once the node has adopted a genesis
	genesisVersion = 1
	maxGenesis     = 64 << 10 // bytes of either file
)

// Genesis is what a cluster was founded as: the same on every founder, for ever.
type Genesis struct {
	Version   int       `json:"version"`
	ClusterID string    `json:"cluster"`
	FoundedMs int64     `json:"foundedMs"`
	Founders  []Founder `json:"founders"` // in the order of their ids
}

// Founder is one member of a genesis, with the addresses at which the others found it.
type Founder struct {
	NodeID int32     `json:"node"`
	DiskID uuid.UUID `json:"disk"`
	Kafka  string    `json:"kafka,omitempty"`
	WAL    string    `json:"wal,omitempty"`
	Raft   string    `json:"raft,omitempty"`
}

func (f *Founder) member() metadata.Voter { return metadata.Voter{NodeID: f.NodeID, DiskID: f.DiskID} }

// genesisOfOne is the genesis of a cluster that one node has founded by itself. Nothing of it is written: identity says it all.
func genesisOfOne(id Identity) *Genesis {
	return &Genesis{Version: genesisVersion, ClusterID: id.ClusterID, Founders: []Founder{{NodeID: id.NodeID, DiskID: id.DiskID}}}
}

// Hash names a genesis: cluster and members, not addresses.
func (g *Genesis) Hash() [32]byte {
	b := append([]byte(g.ClusterID), 0)
	for _, f := range g.Founders {
		b = binary.BigEndian.AppendUint32(b, uint32(f.NodeID))
		b = append(b, f.DiskID[:]...)
	}
	return sha256.Sum256(b)
}

// find returns the founder with that node id, or nil.
func (g *Genesis) find(nodeID int32) *Founder {
	for i := range g.Founders {
		if g.Founders[i].NodeID == nodeID {
			return &g.Founders[i]
		}
	}
	return nil
}

func (g *Genesis) has(m metadata.Voter) bool {
	f := g.find(m.NodeID)
	return f != nil && f.DiskID == m.DiskID
}

// log is the genesis as the metadata log knows it.
func (g *Genesis) log() metalog.Genesis {
	l := metalog.Genesis{ClusterID: g.ClusterID, TimestampMs: g.FoundedMs}
	if l.TimestampMs == 0 {
		l.TimestampMs = time.Now().UnixMilli() // of a cluster of one, which founds itself now; it counts only when the log is empty
	}
	for i := range g.Founders {
		l.Founders = append(l.Founders, g.Founders[i].member())
	}
	return l
}

func (g *Genesis) check() error {
	switch {
	case g.Version != genesisVersion:
		return fmt.Errorf("%w: genesis version %d, this version knows %d", ErrFormatVersion, g.Version, genesisVersion)
	case g.ClusterID == "" || len(g.Founders) == 0 || len(g.Founders) > maxFounders:
		return fmt.Errorf("%w: genesis of cluster %q with %d founders", ErrIdentity, g.ClusterID, len(g.Founders))
	}
	for i, f := range g.Founders {
		if f.DiskID.IsZero() || i > 0 && g.Founders[i-1].NodeID >= f.NodeID {
			return fmt.Errorf("%w: genesis of cluster %q: founder %d", ErrIdentity, g.ClusterID, f.NodeID)
		}
	}
	return nil
}

// draft is what a node that belongs to no cluster has written down: the disk id that it will be known by, and to whom it has pledged it.
type draft struct {
	Version int            `json:"version"`
	NodeID  int32          `json:"node"`
	DiskID  uuid.UUID      `json:"disk"`
	Pledged metadata.Voter `json:"pledged"` // zero: to nobody
	List    string         `json:"list"`    // hash of the list of founders under which it was pledged
}

// writeJSON replaces a small file, durably.
func writeJSON(fsys vfs.FS, path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	if err := vfs.WriteFileAtomic(fsys, path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// readJSON reads a small file; keys that it does not know belong to a later version.
func readJSON(fsys vfs.FS, path string, v any) error {
	b, err := vfs.ReadFile(fsys, path)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if len(b) > maxGenesis {
		return fmt.Errorf("read %s: %w: %d bytes", path, ErrIdentity, len(b))
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("read %s: %w: %w", path, ErrIdentity, err)
	}
	return nil
}

// readGenesis returns the genesis of a directory, or nil if there is none.
func readGenesis(fsys vfs.FS, dir string) (*Genesis, error) {
	g := &Genesis{}
	err := readJSON(fsys, filepath.Join(dir, genesisFile), g)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return g, g.check()
}

// readDraft returns the draft of a directory, or nil if there is none.
func readDraft(fsys vfs.FS, dir string) (*draft, error) {
	d := &draft{}
	err := readJSON(fsys, filepath.Join(dir, draftFile), d)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case d.Version != genesisVersion || d.DiskID.IsZero():
		return nil, fmt.Errorf("read %s: %w: version %d", filepath.Join(dir, draftFile), ErrFormatVersion, d.Version)
	}
	return d, nil
}

// listHash names a list of founders: ids and addresses.
func listHash(peers []config.Peer) string {
	sorted := slices.Clone(peers)
	slices.SortFunc(sorted, func(a, b config.Peer) int { return cmp.Compare(a.ID, b.ID) })
	h := sha256.New()
	for _, p := range sorted {
		fmt.Fprintf(h, "%d %q %q %q\n", p.ID, p.Kafka, p.WAL, p.Raft)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// completeIdentity compares identity and genesis of a directory that has an identity, and returns the genesis.
func completeIdentity(fsys vfs.FS, dir string, id Identity) (*Genesis, error) {
	g, err := readGenesis(fsys, dir)
	if err != nil {
		return nil, err
	}
	founded := id.Genesis != [32]byte{}
	switch {
	case g == nil && founded:
		return nil, fmt.Errorf("%w: %s is missing: restore the file, or start on an empty directory as a new member", ErrIdentity, filepath.Join(dir, genesisFile))
	case g == nil:
		return genesisOfOne(id), nil
	case !founded || g.Hash() != id.Genesis || g.ClusterID != id.ClusterID:
		return nil, fmt.Errorf("%w: %s is not of cluster %s", ErrIdentity, filepath.Join(dir, genesisFile), id.ClusterID)
	case !g.has(metadata.Voter{NodeID: id.NodeID, DiskID: id.DiskID}):
		return nil, fmt.Errorf("%w: disk %s of node %d is not in %s", ErrIdentity, id.DiskID, id.NodeID, filepath.Join(dir, genesisFile))
	}
	return g, nil
}
