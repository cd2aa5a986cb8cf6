package membership

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

var (
	bucketEntries = []byte("entries")
	bucketValues  = []byte("values")
	keyVoteTerm   = []byte("LastVoteTerm")
	keyVoteFor    = []byte("LastVoteCand")
)

// stuckAfter is how long a write may take before the node gives up: a leader whose disk hangs would otherwise keep its
// followers quiet with heartbeats for ever.
const stuckAfter = 10 * time.Second

// store is Raft's log and stable store in one bbolt file.
type store struct {
	db      *bbolt.DB
	onFatal func(error)
	stuck   time.Duration

	mu       sync.Mutex // guards voteTerm
	voteTerm []byte     // term of a vote whose candidate has not come yet; not durable, and not to be seen
}

var (
	_ raft.LogStore    = (*store)(nil)
	_ raft.StableStore = (*store)(nil)
)

func openStore(path string, onFatal func(error)) (*store, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true})
	switch {
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: open raft store %s: %w", ErrCorrupt, path, err)
	case err != nil:
		return nil, fmt.Errorf("open raft store %s: %w", path, err)
	}
	s := &store{db: db, onFatal: onFatal, stuck: stuckAfter}
	if s.ready() {
		return s, nil
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketEntries, bucketValues} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create raft store %s: %w", path, err), db.Close())
	}
	return s, nil
}

// ready says whether the buckets exist already, which saves a write at every start but the first.
func (s *store) ready() bool {
	ok := false
	_ = s.db.View(func(tx *bbolt.Tx) error { // the function returns no error
		ok = tx.Bucket(bucketEntries) != nil && tx.Bucket(bucketValues) != nil
		return nil
	})
	return ok
}

// update runs one transaction. Memory and file may disagree after a failed one, so an error is the end of the process.
func (s *store) update(what string, fn func(*bbolt.Tx) error) error {
	timer := time.AfterFunc(s.stuck, func() {
		s.onFatal(fmt.Errorf("%s: %w: not written within %v", what, ErrStore, s.stuck))
	})
	defer timer.Stop()
	if err := s.db.Update(fn); err != nil {
		err = fmt.Errorf("%s: %w: %v", what, ErrStore, err)
		s.onFatal(err)
		return err
	}
	return nil
}

// Close releases the file.
func (s *store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close raft store: %w", err)
	}
	return nil
}

// Set stores a value. The candidate of a vote brings its term along, in the same transaction: between two transactions a
// crash would leave the new term with the candidate of an old vote, who would then be granted it as a repetition.
func (s *store) Set(key, value []byte) error {
	if string(key) != string(keyVoteFor) {
		return s.put("write raft value", pair{key, value})
	}
	s.mu.Lock()
	term := s.voteTerm
	s.voteTerm = nil
	s.mu.Unlock()
	if term == nil {
		return s.put("write raft vote", pair{keyVoteFor, value})
	}
	return s.put("write raft vote", pair{keyVoteTerm, term}, pair{keyVoteFor, value})
}

// SetUint64 stores a number; the term of a vote is held back until its candidate comes.
func (s *store) SetUint64(key []byte, n uint64) error {
	value := binary.BigEndian.AppendUint64(nil, n)
	if string(key) != string(keyVoteTerm) {
		return s.put("write raft value", pair{key, value})
	}
	s.mu.Lock()
	s.voteTerm = value
	s.mu.Unlock()
	return nil
}

type pair struct{ key, value []byte }

func (s *store) put(what string, pairs ...pair) error {
	return s.update(what, func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketValues)
		for _, p := range pairs {
			if err := b.Put(p.key, p.value); err != nil {
				return err
			}
		}
		return nil
	})
}

// Get returns a durable value, empty if there is none.
func (s *store) Get(key []byte) ([]byte, error) {
	value := []byte{}
	err := s.db.View(func(tx *bbolt.Tx) error {
		value = append(value, tx.Bucket(bucketValues).Get(key)...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read raft value %s: %w", key, err)
	}
	return value, nil
}

// GetUint64 returns a durable number, 0 if there is none.
func (s *store) GetUint64(key []byte) (uint64, error) {
	value, err := s.Get(key)
	if err != nil || len(value) == 0 {
		return 0, err
	}
	if len(value) != 8 {
		return 0, fmt.Errorf("read raft value %s: %w: %d bytes", key, ErrCorrupt, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// FirstIndex returns the index of the oldest entry, 0 without one.
func (s *store) FirstIndex() (uint64, error) {
	return s.edge(func(c *bbolt.Cursor) []byte { k, _ := c.First(); return k })
}

// LastIndex returns the index of the newest entry, 0 without one.
func (s *store) LastIndex() (uint64, error) {
	return s.edge(func(c *bbolt.Cursor) []byte { k, _ := c.Last(); return k })
}

func (s *store) edge(pick func(*bbolt.Cursor) []byte) (index uint64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		if k := pick(tx.Bucket(bucketEntries).Cursor()); len(k) == 8 {
			index = binary.BigEndian.Uint64(k)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read raft log bounds: %w", err)
	}
	return index, nil
}

// GetLog reads one entry.
func (s *store) GetLog(index uint64, l *raft.Log) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketEntries).Get(indexKey(index))
		if b == nil {
			return raft.ErrLogNotFound
		}
		return decodeEntry(index, b, l)
	})
}

// StoreLog writes one entry.
func (s *store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs writes entries in one transaction.
func (s *store) StoreLogs(logs []*raft.Log) error {
	return s.update("write raft entries", func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketEntries)
		for _, l := range logs {
			if err := b.Put(indexKey(l.Index), encodeEntry(l)); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteRange removes the entries from lowest to highest, both included.
func (s *store) DeleteRange(lowest, highest uint64) error {
	return s.update("delete raft entries", func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketEntries).Cursor()
		for k, _ := c.Seek(indexKey(lowest)); k != nil && binary.BigEndian.Uint64(k) <= highest; k, _ = c.Next() {
			if err := c.Delete(); err != nil {
				return err
			}
		}
		return nil
	})
}

func indexKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }
