package metalog

import "slices"

// tail is the end of the log in memory: everything that is not committed, and recent entries before it. Slices of it that were given
// away stay valid: cells are never written twice.
type tail struct {
	base  Position // before the first entry in memory
	ents  []Entry
	bytes int64
}

func (t *tail) end() int64 { return t.base.End + int64(len(t.ents)) }

func (t *tail) last() Position {
	p, _ := t.at(t.end())
	return p
}

// at is the position before offset end, if it is in memory.
func (t *tail) at(end int64) (Position, bool) {
	if end == t.base.End {
		return t.base, true
	}
	if end < t.base.End || end > t.end() {
		return Position{}, false
	}
	e := &t.ents[end-t.base.End-1]
	return Position{End: end, Epoch: e.Epoch, Hash: e.Hash}, true
}

func (t *tail) get(offset int64) *Entry { return &t.ents[offset-t.base.End] }

func (t *tail) append(e Entry) {
	t.ents = append(t.ents, e)
	t.bytes += e.encodedSize()
}

// cut removes the entries from an offset on. The rest is copied, so that what was given away does not change.
func (t *tail) cut(to int64) {
	n := to - t.base.End
	for i := range t.ents[n:] {
		t.bytes -= t.ents[int(n)+i].encodedSize()
	}
	t.ents = slices.Clone(t.ents[:n])
}

// trim forgets the oldest groups below an offset while more than maxBytes are held. It never parts a group: its base is where others are
// asked to go on from.
func (t *tail) trim(below, maxBytes int64) {
	cut, bytes, left := 0, t.bytes, t.bytes
	for n := 0; left > maxBytes && n < len(t.ents) && t.base.End+int64(n) < below; n++ {
		left -= t.ents[n].encodedSize()
		if !t.ents[n].More {
			cut, bytes = n+1, left
		}
	}
	if cut == 0 {
		return
	}
	t.base, _ = t.at(t.base.End + int64(cut))
	t.ents, t.bytes = t.ents[cut:], bytes
}

// slice is the entries from an offset (in memory) up to limit: whole groups, about maxBytes, at least one group if there is one.
func (t *tail) slice(from, limit int64, maxBytes int64) []Entry {
	i := from - t.base.End
	n := groupsWithin(t.ents[i:limit-t.base.End], maxBytes)
	return t.ents[i : i+int64(n) : i+int64(n)]
}

// groupsWithin counts the leading entries that are whole groups of about maxBytes together, at least one group.
func groupsWithin(ents []Entry, maxBytes int64) int {
	n, size := 0, int64(0)
	for i := range ents {
		size += ents[i].encodedSize()
		if size > maxBytes && n > 0 {
			break
		}
		if !ents[i].More {
			n = i + 1
		}
	}
	return n
}

// lineageFork is the largest offset up to which two logs can be equal, judged by the epochs of their entries.
func lineageFork(a []EpochSpan, aEnd int64, b []EpochSpan, bEnd int64) int64 {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	end := func(l []EpochSpan, logEnd int64) int64 {
		if i < len(l) {
			return l[i].Start
		}
		return logEnd
	}
	return min(end(a, aEnd), end(b, bEnd))
}
