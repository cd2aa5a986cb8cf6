package logdir

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

const batches = 50

// directory makes the data directory of a node that has written two partitions and stopped, and returns the checksum of the first.
func directory(t *testing.T) (dir string, crc uint32) {
	t.Helper()
	dir = t.TempDir()
	lock, err := vfs.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "meta.properties"), []byte("version=1\ncluster.id=c\nnode.id=2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := partition.OpenStore(partition.StoreOptions{Dir: dir, Logger: slog.New(slog.DiscardHandler), WAL: wal.Options{SlotBytes: 1 << 20, MaxBytes: 8 << 20, ZeroStep: 64 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	for n := range int32(2) {
		l, err := s.Create(partition.ID{Topic: uuid.UUID{7}, Partition: n}, 1, partition.DefaultLogConfig())
		if err != nil {
			t.Fatal(err)
		}
		for i := range batches {
			b := recordbatch.NewBuilder()
			b.Append(int64(1_700_000_000_000+i), []byte("key"), []byte(strings.Repeat("value ", i+1)))
			raw, err := b.Build(recordbatch.None)
			if err != nil {
				t.Fatal(err)
			}
			info, err := recordbatch.Validate(raw, recordbatch.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.Append(raw, partition.AppendOptions{Info: info, LeaderEpoch: 5, NowMs: 1_700_000_000_000}); err != nil {
				t.Fatal(err)
			}
		}
		if n == 0 {
			if crc, _, err = l.Checksum(0, batches); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(s.Close(), lock.Close()); err != nil {
		t.Fatal(err)
	}
	return dir, crc
}

func all(uuid.UUID, int32) bool { return true }

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = string(b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// What stands in the directory is read, whole, and no byte of it changes.
func TestReadChangesNothing(t *testing.T) {
	dir, want := directory(t)
	before := contents(t, dir)
	d, err := Read(dir, func(topic uuid.UUID, n int32) bool { return topic == uuid.UUID{7} && n == 0 })
	if err != nil {
		t.Fatal(err)
	}
	if d.NodeID != 2 || d.ClusterID != "c" || d.Torn || len(d.Logs) != 1 {
		t.Fatalf("%+v", d)
	}
	var crc uint32
	for _, b := range d.Logs[0].Batches {
		crc = b.Extend(crc)
	}
	if l := d.Logs[0]; crc != want || len(l.Batches) != batches || l.End != batches || l.LeaderEpoch != 5 || l.Err != nil {
		t.Errorf("checksum %08x, want %08x: %+v", crc, want, l)
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
	if d, err := Read(dir, all); err != nil || len(d.Logs) != 2 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestReadRefuses(t *testing.T) {
	dir, _ := directory(t)
	lock, err := vfs.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var held *vfs.LockedError
	if _, err := Read(dir, all); !errors.As(err, &held) || held.PID != os.Getpid() {
		t.Errorf("a running node's directory: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.TempDir(), all); err == nil || !strings.Contains(err.Error(), "not the data directory of a node") {
		t.Errorf("an empty directory: %v", err)
	}
	slots, err := filepath.Glob(filepath.Join(dir, "wal", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range slots {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if at := strings.Index(string(b), "value value"); at >= 0 {
			b[at] ^= 1
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := Read(dir, all); !errors.Is(err, wal.ErrCorrupt) {
		t.Errorf("a flipped bit: %v", err)
	}
}
