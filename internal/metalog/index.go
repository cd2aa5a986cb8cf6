package metalog

import (
	"sort"
	"sync"

	"github.com/chronik-io/chronik/internal/wal"
)

// indexed is a wal record of entries: where it is, its first offset, and when it was written.
type indexed struct {
	first int64
	ms    int64
	ref   wal.Ref
}

// index finds the record that holds an offset. There is one record per commit of the log at most, and a commit takes 4 KiB, so the
// index takes at most 1/100 of the history's size. It is written by the owner and read by anybody: mu guards all.
type index struct {
	mu   sync.Mutex
	recs []indexed
}

// add notes a record whose first entry of the log is first; records that hold only later entries are forgotten.
func (x *index) add(r indexed) {
	x.mu.Lock()
	x.cutLocked(r.first)
	x.recs = append(x.recs, r)
	x.mu.Unlock()
}

// cut forgets the records from an offset on.
func (x *index) cut(to int64) {
	x.mu.Lock()
	x.cutLocked(to)
	x.mu.Unlock()
}

func (x *index) cutLocked(to int64) {
	n := len(x.recs)
	for n > 0 && x.recs[n-1].first >= to {
		n--
	}
	x.recs = x.recs[:n]
}

func (x *index) clear() {
	x.mu.Lock()
	x.recs = nil
	x.mu.Unlock()
}

// find is the record that holds an offset, and the first offset of the next one, where reading it must stop (-1: there is none).
func (x *index) find(offset int64) (rec indexed, next int64, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := sort.Search(len(x.recs), func(i int) bool { return x.recs[i].first > offset }) - 1
	if i < 0 {
		return indexed{}, 0, false
	}
	if i+1 < len(x.recs) {
		return x.recs[i], x.recs[i+1].first, true
	}
	return x.recs[i], -1, true
}

// start is the first offset that is indexed.
func (x *index) start() (int64, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.recs) == 0 {
		return 0, false
	}
	return x.recs[0].first, true
}

// endOf says up to which offset entries are in records up to a commit sequence, and when the last of them was written.
func (x *index) endOf(seq uint64) (end, ms int64, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := sort.Search(len(x.recs), func(i int) bool { return x.recs[i].ref.Seq > seq })
	if i == len(x.recs) {
		return 0, 0, false // the end of the last record is not known here
	}
	if i > 0 {
		ms = x.recs[i-1].ms
	}
	return x.recs[i].first, ms, true
}

// recycle forgets the records up to a commit sequence.
func (x *index) recycle(seq uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := sort.Search(len(x.recs), func(i int) bool { return x.recs[i].ref.Seq > seq })
	x.recs = append([]indexed(nil), x.recs[i:]...)
}
