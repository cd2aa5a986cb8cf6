package membership

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

func noFatal(t *testing.T) func(error) {
	t.Helper()
	return func(err error) { t.Errorf("fatal: %v", err) }
}

func testStore(t *testing.T) (*store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "raft.db")
	s, err := openStore(path, noFatal(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, path
}

// A crash between the two halves of a vote must leave the old vote whole: the term of the new one beside the candidate of
// the old one would let the old candidate be granted the new term as a repetition.
func TestVoteIsOneTransaction(t *testing.T) {
	s, path := testStore(t)
	vote := func(term uint64, candidate string) {
		if err := s.SetUint64(keyVoteTerm, term); err != nil {
			t.Fatal(err)
		}
		if err := s.Set(keyVoteFor, []byte(candidate)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(s *store) (uint64, string) {
		term, err := s.GetUint64(keyVoteTerm)
		if err != nil {
			t.Fatal(err)
		}
		candidate, err := s.Get(keyVoteFor)
		if err != nil {
			t.Fatal(err)
		}
		return term, string(candidate)
	}
	vote(4, "old")
	before := transactions(t, s)
	if err := s.SetUint64(keyVoteTerm, 5); err != nil {
		t.Fatal(err)
	}
	if got := transactions(t, s); got != before {
		t.Fatalf("the term of a vote made %d transactions without its candidate", got-before)
	}
	if term, candidate := read(s); term != 4 || candidate != "old" {
		t.Fatalf("half a vote can be seen: term %d for %q", term, candidate)
	}
	// The process dies here.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := openStore(path, noFatal(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if term, candidate := read(s); term != 4 || candidate != "old" {
		t.Fatalf("after a crash in the middle of a vote: term %d for %q, want 4 for old", term, candidate)
	}
	before = transactions(t, s)
	if err := s.SetUint64(keyVoteTerm, 5); err != nil {
		t.Fatal(err)
	}
	if err := s.Set(keyVoteFor, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got := transactions(t, s); got != before+1 {
		t.Fatalf("a vote took %d transactions, want 1", got-before)
	}
	if term, candidate := read(s); term != 5 || candidate != "new" {
		t.Fatalf("vote read back as term %d for %q", term, candidate)
	}
}

// transactions returns the id of the last write transaction.
func transactions(t *testing.T, s *store) (id int) {
	t.Helper()
	if err := s.db.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestEntriesSurviveAndAreDeletedByRange(t *testing.T) {
	s, path := testStore(t)
	at := time.Unix(1700000000, 12345)
	var logs []*raft.Log
	for i := uint64(1); i <= 20; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: i / 3, Type: raft.LogCommand, Data: bytes.Repeat([]byte{byte(i)}, int(i)), AppendedAt: at})
	}
	logs[4].Extensions = []byte("ext")
	logs[5].Data, logs[5].AppendedAt = nil, time.Time{}
	if err := s.StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteRange(1, 3); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteRange(18, 30); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := openStore(path, noFatal(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first, _ := s.FirstIndex()
	last, _ := s.LastIndex()
	if first != 4 || last != 17 {
		t.Fatalf("entries %d to %d, want 4 to 17", first, last)
	}
	for i := first; i <= last; i++ {
		var got raft.Log
		if err := s.GetLog(i, &got); err != nil {
			t.Fatal(err)
		}
		want := *logs[i-1]
		if len(got.Data) == 0 && len(want.Data) == 0 {
			got.Data, want.Data = nil, nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("entry %d: got %+v, want %+v", i, got, want)
		}
	}
	var l raft.Log
	if err := s.GetLog(3, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("a deleted entry: %v", err)
	}
}

func TestEveryFlippedBitOfAnEntryIsFound(t *testing.T) {
	good := encodeEntry(&raft.Log{Index: 7, Term: 3, Type: raft.LogCommand, Data: []byte("claim"), Extensions: []byte("x")})
	var l raft.Log
	if err := decodeEntry(7, good, &l); err != nil {
		t.Fatal(err)
	}
	if err := decodeEntry(8, good, &l); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an entry at another index: %v", err)
	}
	for bit := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if err := decodeEntry(7, bad, &l); !errors.Is(err, ErrCorrupt) {
			t.Errorf("bit %d: %v", bit, err)
		}
	}
	for n := range good {
		if err := decodeEntry(7, good[:n], &l); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

func TestStoreErrorIsFatal(t *testing.T) {
	var fatal atomic.Pointer[error]
	s, err := openStore(filepath.Join(t.TempDir(), "raft.db"), func(err error) { fatal.Store(&err) })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.StoreLog(&raft.Log{Index: 1}); !errors.Is(err, ErrStore) {
		t.Errorf("write to a closed store: %v", err)
	}
	if got := fatal.Load(); got == nil || !errors.Is(*got, ErrStore) {
		t.Errorf("a failed write did not end the process: %v", got)
	}
}

func TestStuckWriteIsFatal(t *testing.T) {
	if stuckAfter != 10*time.Second {
		t.Errorf("a write may take %v", stuckAfter)
	}
	fatal := make(chan error, 1)
	s, err := openStore(filepath.Join(t.TempDir(), "raft.db"), func(err error) { fatal <- err })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.stuck = 20 * time.Millisecond
	release := make(chan struct{})
	go func() { // holds the only write transaction, as a disk that hangs does
		_ = s.db.Update(func(*bbolt.Tx) error { <-release; return nil })
	}()
	time.Sleep(10 * time.Millisecond)
	done := make(chan error, 1)
	go func() { done <- s.SetUint64([]byte("CurrentTerm"), 2) }()
	select {
	case err := <-fatal:
		if !errors.Is(err, ErrStore) || !strings.Contains(err.Error(), "not written within") {
			t.Errorf("fatal: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("a stuck write did not end the process")
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNumbersOfTheWrongSizeAreRefused(t *testing.T) {
	s, _ := testStore(t)
	if n, err := s.GetUint64([]byte("none")); n != 0 || err != nil {
		t.Errorf("missing number: %d, %v", n, err)
	}
	if err := s.Set([]byte("short"), []byte{1, 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetUint64([]byte("short")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("short number: %v", err)
	}
	if err := s.SetUint64([]byte("n"), 1<<40); err != nil {
		t.Fatal(err)
	}
	if b, _ := s.Get([]byte("n")); binary.BigEndian.Uint64(b) != 1<<40 {
		t.Errorf("number stored as %x", b)
	}
}

// Deleting while a cursor walks must not skip entries, over many pages.
func TestLongRangesAreDeletedWhole(t *testing.T) {
	s, _ := testStore(t)
	const n = 5000
	var logs []*raft.Log
	for i := uint64(1); i <= n; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: 1, Data: bytes.Repeat([]byte{byte(i)}, 100)})
	}
	if err := s.StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteRange(1, 3000); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteRange(4001, n); err != nil {
		t.Fatal(err)
	}
	left := 0
	var l raft.Log
	for i := uint64(1); i <= n; i++ {
		switch err := s.GetLog(i, &l); {
		case err == nil:
			if left++; i <= 3000 || i > 4000 {
				t.Fatalf("entry %d was deleted and is there", i)
			}
		case !errors.Is(err, raft.ErrLogNotFound):
			t.Fatal(err)
		}
	}
	if left != 1000 {
		t.Errorf("%d entries are left, want 1000", left)
	}
}
