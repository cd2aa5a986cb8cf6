package node

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
)

// emptyDisk is a disk in memory with the data directory on it.
func emptyDisk(t *testing.T) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem()
	if err := disk.MkdirAll("/data", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := disk.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	return disk
}

func TestIdentityIsMintedOnceAndBootsAreCounted(t *testing.T) {
	disk := emptyDisk(t)
	first, err := openIdentity(disk, "/data", 7, "")
	if err != nil {
		t.Fatal(err)
	}
	if first.NodeID != 7 || first.ClusterID == "" || first.DiskID.IsZero() || first.Boot != 1 {
		t.Errorf("minted %+v", first)
	}
	for boot := uint64(2); boot < 5; boot++ {
		again, err := openIdentity(disk, "/data", 7, "")
		if err != nil {
			t.Fatal(err)
		}
		want := first
		want.Boot = boot
		if again != want {
			t.Errorf("start %d: %+v, want %+v", boot, again, want)
		}
	}
	for _, dir := range nodeDirs {
		copied, err := readIdentity(disk, filepath.Join("/data", dir))
		if err != nil {
			t.Fatal(err)
		}
		copied.Boot = 1
		if copied != first {
			t.Errorf("%s holds %+v", dir, copied)
		}
	}
}

func TestForeignDirectoriesAreRefused(t *testing.T) {
	put := func(t *testing.T, disk *vfs.Mem, path, text string) {
		t.Helper()
		if err := vfs.WriteFileAtomic(disk, path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(t *testing.T, disk *vfs.Mem, path string) {
		t.Helper()
		if err := disk.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name    string
		node    int32
		cluster string
		change  func(t *testing.T, disk *vfs.Mem, id Identity)
		want    error
		says    string
	}{
		{"another node", 2, "", nil, ErrIdentity, "node 1"},
		{"another cluster", 1, "elsewhere", nil, ErrIdentity, "elsewhere"},
		{"identity lost", 1, "", func(t *testing.T, disk *vfs.Mem, _ Identity) { remove(t, disk, "/data/meta.properties") }, ErrIdentity, "missing"},
		{"copy lost in a directory with data", 1, "", func(t *testing.T, disk *vfs.Mem, _ Identity) {
			put(t, disk, "/data/wal/000001.wal", "data")
			remove(t, disk, "/data/wal/meta.properties")
		}, ErrIdentity, "wal"},
		{"directory of another disk", 1, "", func(t *testing.T, disk *vfs.Mem, id Identity) {
			id.DiskID = uuid.New()
			if err := writeIdentity(disk, "/data/raft", id, false); err != nil {
				t.Fatal(err)
			}
		}, ErrIdentity, "raft"},
		{"later version", 1, "", func(t *testing.T, disk *vfs.Mem, id Identity) {
			put(t, disk, "/data/meta.properties", fmt.Sprintf("version=2\ncluster.id=%s\nnode.id=1\ndisk.id=%s\n", id.ClusterID, id.DiskID))
		}, ErrFormatVersion, "2"},
		{"later key", 1, "", func(t *testing.T, disk *vfs.Mem, id Identity) {
			put(t, disk, "/data/meta.properties", fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=1\ndisk.id=%s\nnew=1\n", id.ClusterID, id.DiskID))
		}, ErrFormatVersion, "new"},
		{"damaged", 1, "", func(t *testing.T, disk *vfs.Mem, _ Identity) {
			put(t, disk, "/data/meta.properties", "version=1\nclust")
		}, ErrFormatVersion, "clust"},
		{"empty file", 1, "", func(t *testing.T, disk *vfs.Mem, _ Identity) { put(t, disk, "/data/meta.properties", "") }, ErrIdentity, "disk.id"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			disk := emptyDisk(t)
			id, err := openIdentity(disk, "/data", 1, "")
			if err != nil {
				t.Fatal(err)
			}
			if tc.change != nil {
				tc.change(t, disk, id)
			}
			_, err = openIdentity(disk, "/data", tc.node, tc.cluster)
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %v that says %q", err, tc.want, tc.says)
			}
		})
	}
}

// A copy that is missing in an empty directory (a crash during the first start) is written again.
func TestFirstStartResumesAfterACrash(t *testing.T) {
	for seed := range uint64(200) {
		disk := emptyDisk(t)
		faulty := vfs.NewFaulty(disk)
		crashAt := int(seed % 40)
		faulty.Inject(vfs.Rule{Ops: vfs.OpAll, Skip: crashAt, Err: fs.ErrInvalid}) // from here on nothing reaches the disk
		minted, err := openIdentity(faulty, "/data", 1, "")
		after := disk.Crash(rand.New(rand.NewPCG(seed, 1)))
		again, errAgain := openIdentity(after, "/data", 1, "")
		if errAgain != nil {
			t.Fatalf("seed %d, crash after %d calls: %v", seed, crashAt, errAgain)
		}
		if err == nil && (again.DiskID != minted.DiskID || again.Boot != 2) {
			t.Fatalf("seed %d: %+v was durable and came back as %+v", seed, minted, again)
		}
	}
}

// TestLostDirectoryIsNoticed removes one directory of a node that ran: it must not come back empty as if nothing had been in it.
func TestLostDirectoryIsNoticed(t *testing.T) {
	for _, lost := range nodeDirs {
		t.Run(lost, func(t *testing.T) {
			disk := emptyDisk(t)
			if _, err := openIdentity(disk, "/data", 1, ""); err != nil {
				t.Fatal(err)
			}
			if err := disk.RemoveAll(filepath.Join("/data", lost)); err != nil {
				t.Fatal(err)
			}
			_, err := openIdentity(disk, "/data", 1, "")
			if !errors.Is(err, ErrIdentity) || !strings.Contains(err.Error(), lost) {
				t.Errorf("start without %s: %v, want a refusal that names it", lost, err)
			}
			if _, err := disk.Stat(filepath.Join("/data", lost)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the refused start made %s again (%v): evidence is gone", lost, err)
			}
		})
	}
}
