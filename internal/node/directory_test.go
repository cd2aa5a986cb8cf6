package node

import (
	"testing"

	"github.com/chronik-io/chronik/internal/vfs"
)

func TestNestedDataDirectorySurvivesAPowerFailure(t *testing.T) {
	disk := vfs.NewMem()
	for range 2 {
		if err := makeDirectory(disk, "/a/b/../b/c"); err != nil {
			t.Fatal(err)
		}
	}
	after := disk.CrashWith(func(int) int { return 0 }) // nothing that was not synced is left
	if _, err := after.Stat("/a/b/c"); err != nil {
		t.Error(err)
	}
}
