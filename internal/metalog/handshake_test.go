package metalog

import (
	"errors"
	"slices"
	"testing"

	"github.com/chronik-io/chronik/internal/vfs"
)

// Every member remembers whom it has greeted, not only who sent it messages of the log: a disk that is put back to an older state is
// refused by all of them, before it can vote with those who never led.
func TestHandshakeRemembersTheProcess(t *testing.T) {
	c := NewCore(CoreConfig{Self: memberN(1), Boot: 1, Nonce: 1}, Recovered{Voters: []VoterSet{{Members: []Member{memberN(1), memberN(2), memberN(3)}}}})
	boot := func(n, nonce uint64) PeerBoot { return PeerBoot{memberN(2), n, nonce} }
	for _, step := range []struct {
		name  string
		boots []PeerBoot
		want  bool
	}{
		{"the first", []PeerBoot{boot(1, 11)}, true},
		{"the next", []PeerBoot{boot(1, 11), boot(2, 12)}, true},
		{"the same again", []PeerBoot{boot(1, 11), boot(2, 12)}, true},
		{"a copy of the first's disk", []PeerBoot{boot(1, 11), boot(2, 99)}, false},
		{"what was there before the copy", []PeerBoot{boot(1, 11), boot(2, 12), boot(3, 13)}, false},
	} {
		if got := c.Handshake(step.boots); got != step.want {
			t.Errorf("%s: heard is %t, want %t", step.name, got, step.want)
		}
	}
}

// A process that may greet others is on its own disk: the next one, after a power failure at that very moment, names it.
func TestAwaitBootMakesTheProcessKnown(t *testing.T) {
	fsys := vfs.NewMem()
	if err := errors.Join(fsys.MkdirAll("m", 0o755), fsys.SyncDir(".")); err != nil { // the directory is the node's
		t.Fatal(err)
	}
	o := soloOptions(fsys, "m", 1)
	o.Nonce = 77
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	l.Start()
	if err := l.AwaitBoot(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := fsys.CrashWith(func(int) int { return 0 }) // nothing unsynced is kept
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	o = soloOptions(after, "m", 2)
	next, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if boots := next.Boots(); !slices.Contains(boots, PeerBoot{o.Self, 1, 77}) {
		t.Errorf("the next process names %v", boots)
	}
}
