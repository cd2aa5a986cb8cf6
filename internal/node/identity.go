package node

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
)

// Errors of this package.
var (
	// ErrIdentity is a directory that belongs to another node, cluster or disk, or whose identity is missing or damaged.
	ErrIdentity = errors.New("identity mismatch")
	// ErrFormatVersion is a directory written by a version that this one does not know.
	ErrFormatVersion = errors.New("unknown format version")
	// ErrNotSupported is a configuration that this version cannot run.
	ErrNotSupported = errors.New("not supported by this version")
	// ErrListen is a port that cannot be bound.
	ErrListen = errors.New("cannot listen")
	// ErrStopTimeout is a stop that took too long.
	ErrStopTimeout = errors.New("not stopped in time")
)

// The directories of a node below its data directory. Each holds a copy of the identity.
const (
	dirRaft     = "raft"
	dirMetadata = "metadata"
	dirWAL      = "wal"
	dirTopics   = "topics"

	identityFile    = "meta.properties"
	identityVersion = 1
	maxIdentity     = 4096 // bytes of the file
)

var nodeDirs = []string{dirRaft, dirMetadata, dirWAL, dirTopics}

// Identity says whose directory it is.
type Identity struct {
	ClusterID string
	NodeID    int32
	DiskID    uuid.UUID // minted when the directory is first used: a wiped disk is another member
	Boot      uint64    // starts on this disk, counted before anything else is done
	// Genesis is the hash of what the cluster was founded as; zero if this node has founded it by itself.
	Genesis [32]byte
}

// openIdentity reads the identity of a directory, or mints one on first use, raises the boot counter and makes both
// durable. It refuses when any directory of the node disagrees.
func openIdentity(fsys vfs.FS, dir string, nodeID int32, clusterID string) (Identity, error) {
	id, err := readIdentity(fsys, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if id, err = mintIdentity(fsys, dir, nodeID, clusterID); err != nil {
			return id, err
		}
	case err != nil:
		return id, err
	}
	if id.NodeID != nodeID {
		return id, fmt.Errorf("%w: %s belongs to node %d, this is node %d: set node_id, or use another data directory", ErrIdentity, dir, id.NodeID, nodeID)
	}
	if clusterID != "" && id.ClusterID != clusterID {
		return id, fmt.Errorf("%w: %s belongs to cluster %s, not to %s", ErrIdentity, dir, id.ClusterID, clusterID)
	}
	checks := make([]func() error, 0, len(nodeDirs))
	for _, sub := range nodeDirs {
		checks = append(checks, func() error { return checkCopy(fsys, filepath.Join(dir, sub), id) })
	}
	if err := together(checks...); err != nil { // at the first start they wait for the disk
		return id, err
	}
	id.Boot++
	return id, writeIdentity(fsys, dir, id, true)
}

// mintIdentity makes an identity for a directory that holds nothing of a node.
func mintIdentity(fsys vfs.FS, dir string, nodeID int32, clusterID string) (Identity, error) {
	if err := checkEmpty(fsys, dir); err != nil {
		return Identity{}, err
	}
	if clusterID == "" {
		clusterID = uuid.New().String()
	}
	id := Identity{ClusterID: clusterID, NodeID: nodeID, DiskID: uuid.New()}
	return id, writeIdentity(fsys, dir, id, true)
}

// checkEmpty refuses a directory that holds anything of a node.
func checkEmpty(fsys vfs.FS, dir string) error {
	for _, sub := range nodeDirs {
		entries, err := fsys.ReadDir(filepath.Join(dir, sub))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read %s: %w", filepath.Join(dir, sub), err)
		}
		if len(entries) > 0 { // copies of the identity too: they are written after it
			return fmt.Errorf("%w: %s holds data, but %s is missing: restore the file, or start on an empty directory",
				ErrIdentity, filepath.Join(dir, sub), filepath.Join(dir, identityFile))
		}
	}
	for _, name := range []string{draftFile, genesisFile} {
		_, err := fsys.Stat(filepath.Join(dir, name))
		switch {
		case err == nil:
			return fmt.Errorf("%w: %s holds %s: it belongs, or was about to belong, to a cluster; start it with the [[peers]] that it had, or on an empty directory",
				ErrIdentity, dir, name)
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("look for %s: %w", name, err)
		}
	}
	return nil
}

// checkCopy compares a directory's copy, or writes it at the first start. After that every directory has one: a directory that lost
// it lost what it held too, and to go on would be to forget acknowledged data without a word.
func checkCopy(fsys vfs.FS, dir string, id Identity) error {
	have, err := readIdentity(fsys, dir)
	if err == nil {
		have.Boot = id.Boot
		if have != id {
			return fmt.Errorf("%w: %s belongs to node %d, disk %s, cluster %s, and its parent to node %d, disk %s, cluster %s",
				ErrIdentity, dir, have.NodeID, have.DiskID, have.ClusterID, id.NodeID, id.DiskID, id.ClusterID)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if id.Boot > 0 {
		return fmt.Errorf("%w: %s is missing, and what the directory held with it: restore it, or start on an empty data directory",
			ErrIdentity, filepath.Join(dir, identityFile))
	}
	entries, err := fsys.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := fsys.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("create %s: %w", dir, err)
		}
		if err := fsys.SyncDir(filepath.Dir(dir)); err != nil {
			return fmt.Errorf("create %s: %w", dir, err)
		}
	case err != nil:
		return fmt.Errorf("read %s: %w", dir, err)
	case holdsData(entries):
		return fmt.Errorf("%w: %s holds data without %s", ErrIdentity, dir, identityFile)
	}
	return writeIdentity(fsys, dir, id, false)
}

// holdsData says whether a directory has more in it than an identity that is, or was being, written.
func holdsData(entries []fs.DirEntry) bool {
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), identityFile) })
}

func writeIdentity(fsys vfs.FS, dir string, id Identity, boot bool) error {
	var b bytes.Buffer
	b.WriteString("# Whose directory this is. Chronik refuses to start when it does not match; do not edit.\n")
	fmt.Fprintf(&b, "version=%d\ncluster.id=%s\nnode.id=%d\ndisk.id=%s\n", identityVersion, id.ClusterID, id.NodeID, id.DiskID)
	if id.Genesis != [32]byte{} {
		fmt.Fprintf(&b, "genesis=%x\n", id.Genesis)
	}
	if boot {
		fmt.Fprintf(&b, "boot=%d\n", id.Boot)
	}
	if err := vfs.WriteFileAtomic(fsys, filepath.Join(dir, identityFile), b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	return nil
}

// readIdentity parses a meta.properties file. Keys it does not know are refused: they belong to a later version.
func readIdentity(fsys vfs.FS, dir string) (Identity, error) {
	path := filepath.Join(dir, identityFile)
	text, err := vfs.ReadFile(fsys, path)
	if err != nil {
		return Identity{}, fmt.Errorf("read identity: %w", err)
	}
	id, err := parseIdentity(text)
	if err != nil {
		return Identity{}, fmt.Errorf("read identity %s: %w", path, err)
	}
	return id, nil
}

func parseIdentity(text []byte) (Identity, error) {
	var id Identity
	if len(text) > maxIdentity {
		return id, fmt.Errorf("%w: %d bytes", ErrIdentity, len(text))
	}
	var version uint64
	missing := map[string]bool{"version": true, "cluster.id": true, "node.id": true, "disk.id": true}
	for scan := bufio.NewScanner(bytes.NewReader(text)); scan.Scan(); {
		line := strings.TrimSpace(scan.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		var err error
		switch key {
		case "version":
			version, err = strconv.ParseUint(value, 10, 16)
		case "cluster.id":
			id.ClusterID = value
		case "node.id":
			var n int64
			n, err = strconv.ParseInt(value, 10, 32)
			id.NodeID = int32(n)
		case "disk.id":
			id.DiskID, err = uuid.Parse(value)
		case "genesis":
			var h []byte
			if h, err = hex.DecodeString(value); err == nil && len(h) != len(id.Genesis) {
				err = hex.ErrLength
			}
			copy(id.Genesis[:], h)
		case "boot":
			id.Boot, err = strconv.ParseUint(value, 10, 64)
		default:
			return id, fmt.Errorf("%w: key %q", ErrFormatVersion, key)
		}
		if err != nil || value == "" {
			return id, fmt.Errorf("%w: %s=%q cannot be read", ErrIdentity, key, value)
		}
		delete(missing, key)
	}
	if len(missing) > 0 {
		return id, fmt.Errorf("%w: no %s", ErrIdentity, strings.Join(slices.Sorted(maps.Keys(missing)), ", "))
	}
	if version != identityVersion {
		return id, fmt.Errorf("%w: %d, this version knows %d", ErrFormatVersion, version, identityVersion)
	}
	return id, nil
}
