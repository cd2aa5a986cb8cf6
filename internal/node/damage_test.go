package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chronik-io/chronik/internal/membership"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/wal"
)

// Damage is told together with what can be done: alone a backup, which others would refuse. Other errors get no such advice.
func TestDamageIsToldWithWhatToDo(t *testing.T) {
	for _, damage := range []error{wal.ErrCorrupt, metalog.ErrDamaged, membership.ErrCorrupt} {
		err := fmt.Errorf("open: %w", damage)
		if alone := damageHint(err, false); !errors.Is(alone, damage) || !strings.Contains(alone.Error(), "restore all of it from a backup") {
			t.Errorf("alone: %v", alone)
		}
		if others := damageHint(err, true); !errors.Is(others, damage) || strings.Contains(others.Error(), "from a backup") || !strings.Contains(others.Error(), "they refuse an older copy") {
			t.Errorf("one of several: %v", others)
		}
	}
	if err := damageHint(ErrIdentity, true); err.Error() != ErrIdentity.Error() {
		t.Errorf("no damage: %v", err)
	}
}

// A damaged raft.db is damage, by its class: the library's error says only that the file is no database.
func TestDamagedRaftStoreIsDamage(t *testing.T) {
	c := testConfig(t)
	n := startNode(t, Options{Config: c})
	stopNode(t, n)
	if err := os.WriteFile(filepath.Join(c.DataDir, dirRaft, "raft.db"), make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := Start(t.Context(), Options{Config: c, Logger: quiet()})
	if err == nil {
		stopNode(t, n)
		t.Fatal("it starts")
	}
	if !errors.Is(err, membership.ErrCorrupt) || !strings.Contains(err.Error(), "invalid database") || !strings.Contains(err.Error(), "restore all of it from a backup") {
		t.Error(err)
	}
}
