package metadir

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
)

// directory makes the data directory of a node that has committed some entries and stopped, and returns the hash of its image.
func directory(t *testing.T) (dir string, hash metadata.Hash, commit int64) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, subdirectory), 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := vfs.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	self := metalog.Member{NodeID: 1, DiskID: uuid.UUID{1}}
	l, err := metalog.Open(metalog.Options{Dir: filepath.Join(dir, subdirectory), Self: self, Boot: 1, SlotBytes: 1 << 20, HistoryBytes: 16 << 20, ImageBytes: 4 << 10,
		Genesis: metalog.Genesis{ClusterID: "c", Founders: []metalog.Member{self}, TimestampMs: 1}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	leads := make(chan struct{}, 1)
	l.SubscribeRole(func(is bool, _ uint64) {
		if is {
			leads <- struct{}{}
		}
	})
	l.Start()
	l.Claimed(1, l.SelfBallot())
	<-leads
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := range 300 {
		ev := &metadata.ConfigChanged{Resource: metadata.ResourceBroker, Name: "1", Set: map[string]string{"log.retention.ms": string(rune('1' + i%9))}}
		if _, err := l.Propose(ctx, func(*metadata.Image) ([]metadata.Event, error) { return []metadata.Event{ev}, nil }); err != nil {
			t.Fatal(err)
		}
	}
	hash, commit = l.Image().Hash(), l.Commit()
	if err := errors.Join(l.Close(), lock.Close()); err != nil {
		t.Fatal(err)
	}
	return dir, hash, commit
}

// contents are all files of a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every committed entry is handed out once and in order, they make the image that the node had, and no byte on disk changes.
func TestReadChangesNothing(t *testing.T) {
	dir, hash, commit := directory(t)
	before := contents(t, dir)
	im, next := metadata.Empty(), int64(0)
	r, err := Read(dir, func(e *Entry) error {
		if e.Offset != next {
			t.Fatalf("entry %d where %d is due", e.Offset, next)
		}
		next++
		if e.Kind != "event" && e.Kind != "voters" {
			im = im.WithOffset(e.Offset)
			return nil
		}
		ev, err := metadata.DecodeEvent(e.Payload)
		if err == nil {
			im, _, err = metadata.Apply(im, metadata.Entry{Offset: e.Offset, Event: ev})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if next != commit || r.Commit != commit || im.Hash() != hash || r.FaultFrom != -1 || len(r.Damage) > 0 || r.Torn {
		t.Errorf("read up to %d with hash %s, the node had %d and %s: %+v", next, im.Hash(), commit, hash, r)
	}
	after := contents(t, dir)
	if len(after) != len(before) {
		t.Errorf("%d files, %d before", len(after), len(before))
	}
	for path, b := range before {
		if after[path] != b {
			t.Errorf("%s was changed", path)
		}
	}
}

// A running node's directory is refused.
func TestReadRefusesARunningNode(t *testing.T) {
	dir, _, _ := directory(t)
	lock, err := vfs.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	var held *vfs.LockedError
	if _, err := Read(dir, func(*Entry) error { return nil }); !errors.As(err, &held) || held.PID != os.Getpid() {
		t.Errorf("got %v", err)
	}
}

// A byte that changed in the middle of the log is found.
func TestReadFindsDamage(t *testing.T) {
	dir, _, _ := directory(t)
	slots, err := filepath.Glob(filepath.Join(dir, subdirectory, "log", "*"))
	if err != nil || len(slots) == 0 {
		t.Fatal(slots, err)
	}
	b, err := os.ReadFile(slots[0])
	if err != nil {
		t.Fatal(err)
	}
	b[20*4096+100] ^= 1
	if err := os.WriteFile(slots[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Read(dir, func(*Entry) error { return nil })
	if err == nil && len(r.Damage) == 0 {
		t.Errorf("nothing was found: %+v", r)
	}
}
