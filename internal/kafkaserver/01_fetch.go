package kafkaserver

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/replica"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	add(&api{key: kmsg.Fetch, min: 4, max: 18, maxBytes: 1 << 30, raw: (*Server).fetch})
}

const (
	fetchFlexible     = 12
	fetchLeaders      = 16 // first version that tells who leads instead (KIP-951)
	fetchMemoryWait   = 10 * time.Second
	isolationCommited = 1
	tagReplicaState   = 1
)

// fetchQuery is a parsed Fetch request.
type fetchQuery struct {
	version      int16
	replicaID    int32
	maxWaitMs    int32
	minBytes     int32
	maxBytes     int32
	committed    bool
	sessionID    int32
	sessionEpoch int32
	rack         string // of the client; "" for none
	wants        []fetchWant
	forgotten    []partKey
}

// fetchPart is one partition of a fetch in progress.
type fetchPart struct {
	fetchWant
	session             *sessionPart
	knownHW, knownStart int64 // what the session's client knows

	replica *replica.Replica
	state   *metadata.Partition // of the image in which replica was found; nil: no such partition
	follows bool                // replica is a follower that may serve the client
	meta    bool                // the metadata log
	unknown bool                // no such partition: does not end a wait

	err                  error
	code                 int16
	hw, stable, logStart int64
	divergingEpoch       int32
	divergingEnd         int64 // -1: not diverging
	preferred            int32 // replica that the client should read from; noReplica: this one
	available            int64 // bytes that can be read, as far as the client would take them
	lookedEpoch          int32 // leader epoch of the last look that found the partition in order; -1: none did
	include              bool
	sent                 int              // bytes of records in the response
	extent               partition.Extent // when the response is streamed: its records,
	recordsAt            int              // and where among the heads they go
}

// fetcher is a connection's memory for fetches, used by its goroutine for one after the other.
type fetcher struct {
	query     fetchQuery
	parts     []fetchPart
	replicas  []*replica.Replica
	waiter    *replica.FetchWaiter
	timer     *time.Timer
	streaming bool
	unwatch   context.CancelFunc // ends the watch of the metadata log; nil when there is none
}

// fetch serves a Fetch request: it waits until there is enough to send or the client's patience is over.
func (s *Server) fetch(r *request, body []byte) error {
	c := r.conn
	f := &c.fetcher
	q := &f.query
	if !q.parse(r.version, body) {
		return errBody
	}
	session, err := s.sessions.begin(q)
	if err != nil {
		c.out.completeBlocking(r.slot, fetchError(r, err))
		return nil
	}
	f.parts = f.parts[:0]
	if session != nil {
		f.parts = session.snapshot(f.parts)
	} else {
		for i := range q.wants {
			f.parts = append(f.parts, fetchPart{fetchWant: q.wants[i]})
		}
	}
	c.dropIfEmpty() // body is read: a fetch that waits holds no read buffer
	c.serving.Store(true)
	s.awaitFetch(r, f)
	c.serving.Store(false)
	c.lastActive.Store(s.now.Load())
	if c.ctx.Err() != nil && s.ctx.Err() == nil {
		return errPeerGone
	}
	defer f.release()
	return s.answerFetch(r, f, session)
}

// parse reads the request. The walker has seen it, so false never happens; it is checked all the same.
func (q *fetchQuery) parse(version int16, body []byte) bool {
	r := bodyReader{b: body, flex: version >= fetchFlexible}
	*q = fetchQuery{version: version, replicaID: -1, rack: q.rack, sessionEpoch: fetchEpochFinal, wants: q.wants[:0], forgotten: q.forgotten[:0]}
	if version <= 14 {
		q.replicaID = r.int32()
	}
	q.maxWaitMs, q.minBytes, q.maxBytes = r.int32(), r.int32(), r.int32()
	if b := r.take(1); len(b) == 1 {
		q.committed = b[0] == isolationCommited
	}
	if version >= 7 {
		q.sessionID, q.sessionEpoch = r.int32(), r.int32()
	}
	for range r.count() {
		k := r.topicKey(version)
		for range r.count() {
			q.wants = append(q.wants, r.fetchWant(version, k))
			if r.bad {
				return false
			}
		}
		r.tags()
	}
	if version >= 7 {
		for range r.count() {
			k := r.topicKey(version)
			for range r.count() {
				k.index = r.int32()
				q.forgotten = append(q.forgotten, k)
				if r.bad {
					return false
				}
			}
			r.tags()
		}
	}
	q.setRack(nil)
	if version >= fetchFollowers {
		q.setRack(r.string())
	}
	if version >= 15 {
		q.replicaID = r.replicaState()
	} else {
		r.tags()
	}
	return !r.bad
}

// setRack takes over the client's rack, which is nearly always the one of its last request.
func (q *fetchQuery) setRack(rack []byte) {
	if q.rack != string(rack) {
		q.rack = string(rack)
	}
}

// topicKey reads a topic's name or id.
func (r *bodyReader) topicKey(version int16) (k partKey) {
	if version >= fetchTopicIDs {
		copy(k.id[:], r.take(len(k.id)))
	} else {
		k.name = string(r.string())
	}
	return k
}

// fetchWant reads one partition.
func (r *bodyReader) fetchWant(version int16, k partKey) fetchWant {
	w := fetchWant{partKey: k, currentEpoch: -1, lastEpoch: -1}
	w.index = r.int32()
	if version >= 9 {
		w.currentEpoch = r.int32()
	}
	w.offset = r.int64()
	if version >= 12 {
		w.lastEpoch = r.int32()
	}
	if version >= 5 {
		r.int64() // log start offset, of followers only
	}
	w.maxBytes = r.int32()
	r.tags()
	return w
}

// replicaState reads the tags at the end of the request and returns the replica id in them, -1 if there is none.
func (r *bodyReader) replicaState() int32 {
	id := int32(-1)
	for range r.uvarint() {
		tag, size := r.uvarint(), r.uvarint()
		value := r.take(int(size))
		if r.bad {
			return -1
		}
		if tag == tagReplicaState && len(value) >= 4 {
			id = int32(binary.BigEndian.Uint32(value))
		}
	}
	return id
}

// awaitFetch looks at all partitions until the response is due.
func (s *Server) awaitFetch(r *request, f *fetcher) {
	q := &f.query
	im := s.image()
	s.resolveFetch(im, r.conn, f)
	deadline := time.Now().Add(time.Duration(q.maxWaitMs) * time.Millisecond)
	watching := false
	for {
		if f.look(s, q) || q.maxWaitMs <= 0 || r.ctx.Err() != nil {
			break
		}
		if !watching {
			watching = true
			f.watch(s, r.ctx)
			continue // look again: something may have come before the watch
		}
		if !f.sleep(r.ctx, time.Until(deadline)) {
			f.look(s, q)
			break
		}
		if now := s.image(); now != im {
			im = now
			f.stopWatching() // the replicas may be others now
			s.resolveFetch(im, r.conn, f)
			f.watch(s, r.ctx)
		}
	}
	if watching {
		f.stopWatching()
	}
}

// resolveFetch finds the replica of each partition in an image.
func (s *Server) resolveFetch(im *metadata.Image, c *conn, f *fetcher) {
	for i := range f.parts {
		p := &f.parts[i]
		p.lookedEpoch = -1
		p.replica, p.state, p.meta, p.unknown, p.err = nil, nil, false, false, nil
		if p.name == metadata.MetadataTopic || p.id == metadata.MetadataTopicID {
			p.meta = p.index == 0
			if !p.meta {
				p.unknown, p.err = true, kerr.UnknownTopicOrPartition
			}
			continue
		}
		var t *metadata.Topic
		unknown := kerr.UnknownTopicOrPartition
		if f.query.version >= fetchTopicIDs {
			t = im.TopicByID(p.id)
			unknown = kerr.UnknownTopicID
		} else {
			t = c.topics.byNameString(im, p.name)
		}
		switch {
		case t == nil:
			p.unknown, p.err = true, unknown
		case t.Partition(p.index) == nil:
			p.unknown, p.err = true, kerr.UnknownTopicOrPartition
		default:
			p.state = t.Partition(p.index)
			if p.replica = s.deps.Replicas.Get(t.ID, p.index); p.replica == nil {
				p.err = replica.ErrNotLeader
			}
		}
	}
}

// look takes stock of all partitions and reports whether the response is due: enough bytes, something that the client must know at once,
// or nothing to wait for.
func (f *fetcher) look(s *Server, q *fetchQuery) bool {
	var total int64
	due := true // a fetch of nothing, or of unknown partitions only, has nothing to wait for
	failed := false
	for i := range f.parts {
		p := &f.parts[i]
		if p.unknown {
			p.settle(-1, -1, p.err)
			continue
		}
		due = false
		p.look(s, q)
		if p.err != nil || p.divergingEnd >= 0 || p.preferred != noReplica {
			failed = true
		}
		total += min(p.available, int64(max(p.maxBytes, 0)))
	}
	return due || failed || total >= int64(q.minBytes)
}

// look takes stock of one partition.
func (p *fetchPart) look(s *Server, q *fetchQuery) {
	if p.meta {
		s.lookMetadataLog(p)
		return
	}
	if p.replica == nil {
		p.settle(-1, -1, p.err)
		return
	}
	if q.replicaID >= 0 {
		// Brokers replicate over a port of their own; nobody is a follower here.
		p.settle(-1, -1, replica.ErrNotLeader)
		return
	}
	if err := p.checkRole(s, q); err != nil {
		p.settle(-1, -1, err)
		return
	}
	log := p.replica.Log()
	hw, start, leaderEpoch := log.HighWatermark(), log.Start(), p.replica.LeaderEpoch()
	if p.lookedEpoch >= 0 && p.lookedEpoch == leaderEpoch && p.hw == hw && p.logStart == start {
		return // no news: what a wake-up for another partition costs this one
	}
	p.lookedEpoch = -1
	if !p.follows {
		if id := s.preferredReplica(p, q, hw, start); id != noReplica {
			p.settle(hw, start, nil)
			p.preferred = id
			return
		}
	}
	diverged, err := p.checkPosition(log, hw, start)
	if err != nil {
		p.settle(-1, -1, err)
	}
	if diverged || err != nil {
		return
	}
	p.settle(hw, start, nil)
	if q.committed {
		p.stable = p.replica.LastStableOffset()
	}
	p.lookedEpoch = leaderEpoch
	if limit := p.limit(q); p.offset < limit {
		p.available = log.SizeUpTo(p.offset, limit, int64(max(p.maxBytes, 1)))
	}
}

// limit is the offset up to which the client may read.
func (p *fetchPart) limit(q *fetchQuery) int64 {
	if q.committed {
		return p.stable
	}
	return p.hw
}

// settle sets what the response will say about the partition.
func (p *fetchPart) settle(hw, logStart int64, err error) {
	p.hw, p.stable, p.logStart, p.err, p.code = hw, hw, logStart, err, errorCode(err)
	p.divergingEnd, p.available, p.preferred = -1, 0, noReplica
}

// watch begins to watch all partitions.
func (f *fetcher) watch(s *Server, ctx context.Context) {
	if f.waiter == nil {
		f.waiter = replica.NewFetchWaiter()
	}
	f.replicas = f.replicas[:0]
	for i := range f.parts {
		f.replicas = append(f.replicas, f.parts[i].replica)
		if p := &f.parts[i]; p.meta && f.unwatch == nil {
			ctx, f.unwatch = context.WithCancel(ctx)
			go s.watchMetadataLog(ctx, p.offset, f.waiter.C)
		}
	}
	f.waiter.Watch(f.replicas)
}

// stopWatching ends what watch began.
func (f *fetcher) stopWatching() {
	if f.unwatch != nil {
		f.unwatch()
		f.unwatch = nil
	}
	f.waiter.Stop()
}

// sleep waits for news; false means that the time is over.
func (f *fetcher) sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return false
	}
	if f.timer == nil {
		f.timer = time.NewTimer(d)
	} else {
		f.timer.Reset(d)
	}
	defer f.timer.Stop()
	select {
	case <-f.waiter.C:
		return true
	case <-f.timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// release drops what a fetch should not keep alive while the connection rests.
func (f *fetcher) release() {
	clear(f.parts)
	clear(f.replicas)
	f.parts, f.replicas = f.parts[:0], f.replicas[:0]
	if cap(f.parts) > 1024 {
		f.parts, f.replicas, f.query.wants, f.query.forgotten = nil, nil, nil, nil
	}
}

// readPart appends a partition's batches to b.
func (s *Server) readPart(b []byte, p *fetchPart, q *fetchQuery, maxBytes int, first bool) ([]byte, error) {
	if p.meta {
		return s.readMetadataLog(b, p.offset, maxBytes, first)
	}
	out, err := p.replica.Log().Read(b, p.offset, p.limit(q), maxBytes, first)
	s.logReadError(p, err)
	return out, err
}

// logReadError logs that a partition's records could not be read; that they are no more is nothing to log.
func (s *Server) logReadError(p *fetchPart, err error) {
	if err != nil && p.replica != nil {
		p.replica.ReportCorrupt(p.offset, err)
	}
	if err != nil && !errors.Is(err, partition.ErrOutOfRange) && s.readErrors.allow(s.now.Load()) {
		s.log.Error("fetch failed", "topic", p.replica.Topic(), "partition", p.index, "offset", p.offset, "err", err)
	}
}
