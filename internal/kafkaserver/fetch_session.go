package kafkaserver

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	sessionEviction = 2 * time.Minute // min.incremental.fetch.session.eviction.ms
	maxSessionParts = 200_000         // partitions of one session
	fetchEpochFull  = 0               // full request that asks for a session
	fetchEpochFinal = -1              // full request that wants none, and ends the one it names
	fetchTopicIDs   = 13              // first version of Fetch that names topics by id
)

// partKey names a partition as a request does: by topic name or by topic id.
type partKey struct {
	name  string
	id    uuid.UUID
	index int32
}

// fetchSessions are the incremental fetch sessions (KIP-227) of this node. A session belongs to no connection, as in Kafka.
type fetchSessions struct {
	max int
	now func() time.Time

	mu   sync.Mutex // guards the rest; before fetchSession.mu in the lock order
	byID map[int32]*fetchSession
}

// fetchSession is what a client has asked for so far, and what it was told last.
type fetchSession struct {
	id        int32
	topicIDs  bool // partitions are named by topic id
	createdAt time.Time
	usedAt    time.Time // guarded by fetchSessions.mu
	size      int       // guarded by fetchSessions.mu: partitions, for eviction

	mu    sync.Mutex // guards the rest
	epoch int32      // the next request's
	parts map[partKey]*sessionPart
	first *sessionPart // in the order in which they get their share of a response's bytes
	last  *sessionPart
}

// sessionPart is one partition of a session.
type sessionPart struct {
	want       fetchWant
	prev, next *sessionPart
	// What the client knows: -1 makes sure that it is told.
	hw, logStart int64
}

// fetchWant is what a client asks about one partition.
type fetchWant struct {
	partKey
	currentEpoch, lastEpoch int32
	offset                  int64
	maxBytes                int32
}

func newFetchSessions(max int) *fetchSessions {
	return &fetchSessions{max: max, now: time.Now, byID: map[int32]*fetchSession{}}
}

// begin finds the session of a request and brings it up to date with it. Nil without an error means a request without a session.
func (f *fetchSessions) begin(q *fetchQuery) (*fetchSession, error) {
	if q.sessionEpoch == fetchEpochFull || q.sessionEpoch == fetchEpochFinal {
		if q.sessionID != 0 {
			f.remove(q.sessionID)
		}
		if q.sessionEpoch == fetchEpochFinal || q.version < 7 {
			return nil, nil
		}
		return f.create(q), nil
	}
	f.mu.Lock()
	s := f.byID[q.sessionID]
	if s != nil {
		s.usedAt = f.now()
	}
	f.mu.Unlock()
	if s == nil {
		return nil, kerr.FetchSessionIDNotFound
	}
	if s.topicIDs != (q.version >= fetchTopicIDs) {
		return nil, kerr.FetchSessionTopicIDError
	}
	s.mu.Lock()
	if s.epoch != q.sessionEpoch {
		s.mu.Unlock()
		return nil, kerr.InvalidFetchSessionEpoch
	}
	s.update(q)
	s.epoch = nextFetchEpoch(s.epoch)
	size := len(s.parts)
	s.mu.Unlock()
	f.mu.Lock()
	s.size = size
	f.mu.Unlock()
	return s, nil
}

func nextFetchEpoch(e int32) int32 {
	if e == math.MaxInt32 {
		return 1
	}
	return e + 1
}

// create makes a session for a full request; nil when there is no room, so that the client goes on without.
func (f *fetchSessions) create(q *fetchQuery) *fetchSession {
	now := f.now()
	s := &fetchSession{topicIDs: q.version >= fetchTopicIDs, createdAt: now, usedAt: now, epoch: 1,
		parts: make(map[partKey]*sessionPart, len(q.wants))}
	s.update(q)
	s.size = len(s.parts)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.byID) >= f.max && !f.evictLocked(s.size, now) {
		return nil
	}
	for s.id == 0 || f.byID[s.id] != nil {
		s.id = 1 + rand.Int32N(math.MaxInt32-1)
	}
	f.byID[s.id] = s
	return s
}

// evictLocked makes room: a session unused for a while goes, else a smaller one that had its time.
func (f *fetchSessions) evictLocked(size int, now time.Time) bool {
	var oldest, smallest *fetchSession
	for _, s := range f.byID {
		if oldest == nil || s.usedAt.Before(oldest.usedAt) {
			oldest = s
		}
		if now.Sub(s.createdAt) > sessionEviction && (smallest == nil || s.size < smallest.size) {
			smallest = s
		}
	}
	switch {
	case oldest != nil && now.Sub(oldest.usedAt) > sessionEviction:
		delete(f.byID, oldest.id)
	case smallest != nil && smallest.size < size:
		delete(f.byID, smallest.id)
	default:
		return false
	}
	return true
}

func (f *fetchSessions) remove(id int32) {
	f.mu.Lock()
	delete(f.byID, id)
	f.mu.Unlock()
}

// count is the number of sessions.
func (f *fetchSessions) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.byID)
}

// update takes over what a request asks for and forgets what it says.
func (s *fetchSession) update(q *fetchQuery) {
	for i := range q.wants {
		w := &q.wants[i]
		if p := s.parts[w.partKey]; p != nil {
			p.want = *w
			continue
		}
		if len(s.parts) >= maxSessionParts {
			return
		}
		p := &sessionPart{want: *w, hw: -1, logStart: -1}
		s.parts[w.partKey] = p
		s.push(p)
	}
	for _, k := range q.forgotten {
		if p := s.parts[k]; p != nil {
			delete(s.parts, k)
			s.unlink(p)
		}
	}
}

func (s *fetchSession) push(p *sessionPart) {
	p.prev, p.next = s.last, nil
	if s.last == nil {
		s.first = p
	} else {
		s.last.next = p
	}
	s.last = p
}

func (s *fetchSession) unlink(p *sessionPart) {
	if p.prev == nil {
		s.first = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		s.last = p.prev
	} else {
		p.next.prev = p.prev
	}
}

// snapshot appends all partitions of the session in order.
func (s *fetchSession) snapshot(parts []fetchPart) []fetchPart {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := s.first; p != nil; p = p.next {
		parts = append(parts, fetchPart{fetchWant: p.want, session: p, knownHW: p.hw, knownStart: p.logStart})
	}
	return parts
}

// told remembers what the client is being told, and moves partitions that got bytes to the end of the line.
func (s *fetchSession) told(parts []fetchPart) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range parts {
		p := &parts[i]
		if p.session == nil || s.parts[p.partKey] != p.session {
			continue // forgotten meanwhile
		}
		p.session.hw, p.session.logStart = p.hw, p.logStart
		if p.code != 0 {
			p.session.hw = -1 // so that recovery is told
		}
		if p.sent > 0 {
			s.unlink(p.session)
			s.push(p.session)
		}
	}
}
