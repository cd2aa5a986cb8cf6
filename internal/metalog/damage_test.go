package metalog

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/vfs"
)

// damageMiddle flips a byte of an entry in the middle of a log's first file.
func damageMiddle(t *testing.T, dir string, payload string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, walDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if i := bytes.Index(b, []byte(payload)); i >= 0 {
			b[i] ^= 0x40
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%q is in no file of %v", payload, names)
}

// inspect reads the directory of a member that does not run, and returns the offset after the last entry of those in a row from 0.
func inspect(t *testing.T, dir string) (in *Inspection, end int64) {
	t.Helper()
	in, err := Inspect(vfs.OS, dir, func(e *Entry) error {
		if e.Offset == end {
			end++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return in, end
}

func TestDamageIsRepairedFromOthers(t *testing.T) {
	c := newTestCluster(t, 3, 3)
	one := c.lead(0)
	c.propose(one, 0, 60)
	c.agree(one)
	c.stop(2)
	damageMiddle(t, c.dirs[2], `"n":"30"`)
	if in, end := inspect(t, c.dirs[2]); len(in.Damage) != 1 || len(in.Repaired) != 0 || in.Fault == nil || end > 40 {
		t.Errorf("damaged: %+v, entries to %d", in, end)
	}
	c.start(2, 3)
	if st := c.logs[2].Status(); st.Fault == nil || st.Commit > 40 {
		t.Fatalf("damage was not noticed: %+v", st)
	}
	c.logs[2].Claimed(c.term+1, c.logs[2].SelfBallot()) // refused: it may have lost what it acknowledged
	c.propose(one, 60, 5)
	c.agree(one)
	c.propose(one, 65, 1)
	c.agree(one)
	if st := c.logs[2].Status(); st.Fault != nil {
		t.Fatalf("not repaired: %+v", st)
	}
	c.stop(2)
	if in, end := inspect(t, c.dirs[2]); len(in.Damage) != 0 || len(in.Repaired) != 1 || in.Fault != nil || end != in.Commit || end < 66 {
		t.Errorf("repaired: %+v, entries to %d", in, end)
	}
	c.start(2, 3) // the damage is still in the file, and stays repaired
	if st := c.logs[2].Status(); st.Fault != nil {
		t.Fatalf("the repair is forgotten: %+v", st)
	}
	three := c.lead(2)
	c.propose(three, 66, 5)
	c.agree(three)
}

func TestDamageStopsASingleVoter(t *testing.T) {
	dir := t.TempDir()
	l := openSolo(t, soloOptions(vfs.OS, dir, 1))
	waitLeader(t, l)
	for _, v := range []string{"first", "second", "third"} {
		if _, err := l.Propose(context.Background(), setConfig("k", v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	damageMiddle(t, dir, `"second"`)
	if _, err := Open(soloOptions(vfs.OS, dir, 2)); !errors.Is(err, ErrHalted) {
		t.Fatalf("a damaged log opens: %v", err)
	}
}

func TestImageHashIsCompared(t *testing.T) {
	l := openSolo(t, soloOptions(vfs.OS, t.TempDir(), 1))
	waitLeader(t, l)
	defer l.Close()
	im := l.Image()
	e := Entry{Type: EntryImageHash, Offset: im.Offset() + 1, Payload: bytes.Repeat([]byte{1}, 16)}
	if _, err := applyEntries(im, []Entry{e}, nil); err == nil {
		t.Fatal("another hash is taken for this image's")
	}
	h := im.Hash().Bytes()
	e.Payload = h[:]
	if _, err := applyEntries(im, []Entry{e}, func(_, _ *metadata.Image, _ *metadata.Delta) {}); err != nil {
		t.Fatal(err)
	}
}
