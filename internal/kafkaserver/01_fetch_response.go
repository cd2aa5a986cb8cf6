package kafkaserver

import (
	"context"
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kerr"
)

// fetchError is the response to a request whose session is not as the client thinks.
func fetchError(r *request, err error) *buffer {
	flex := r.version >= fetchFlexible
	buf := getBuffer(64)
	b := appendResponseHeader(buf.b, r.corrID, flex)
	b = binary.BigEndian.AppendUint32(b, 0) // throttle time
	if r.version >= 7 {
		b = binary.BigEndian.AppendUint16(b, uint16(errorCode(err)))
		b = binary.BigEndian.AppendUint32(b, 0) // no session
	}
	b = appendCount(b, 0, flex)
	if flex {
		b = append(b, 0)
	}
	buf.b = finishFrame(b)
	return buf
}

// answerFetch answers: a small response is built in one buffer, its records read straight into place; a large one is streamed.
func (s *Server) answerFetch(r *request, f *fetcher, session *fetchSession) error {
	q := &f.query
	budget := min(int64(max(q.maxBytes, 0)), s.fetchMax)
	planned, memory := f.plan(q, budget, session != nil && q.sessionEpoch != fetchEpochFull)
	f.streaming = s.streams(f, planned)
	if f.streaming {
		memory = streamBuffer
	}
	if !s.takeFetchMemory(r.ctx, memory) {
		// No memory in time: the client is told what is there and asks again.
		planned, memory, f.streaming = 0, 0, false
	}
	if f.streaming {
		heads := s.encodeFetch(r, f, session, int(budget), true, getBuffer(96*len(f.parts)+256))
		return s.streamFetch(r, f, heads)
	}
	buf := getBuffer(planned + 96*len(f.parts) + 256)
	buf.taken, buf.cost = s.fetchBudget, memory
	left := int(budget)
	if memory == 0 {
		left = 0
	}
	buf = s.encodeFetch(r, f, session, left, memory > 0, buf)
	f.release()
	r.conn.out.completeBlocking(r.slot, buf)
	return nil
}

// encodeFetch writes a response into buf: all of it, or all but the records when it is to be streamed. left is how many bytes of records
// there may be, first whether the first batch goes out whatever its size.
func (s *Server) encodeFetch(r *request, f *fetcher, session *fetchSession, left int, first bool, buf *buffer) *buffer {
	flex := r.version >= fetchFlexible
	b := appendResponseHeader(buf.b, r.corrID, flex)
	b = binary.BigEndian.AppendUint32(b, 0) // throttle time
	if r.version >= 7 {
		b = binary.BigEndian.AppendUint16(b, 0)
		var id int32
		if session != nil {
			id = session.id
		}
		b = binary.BigEndian.AppendUint32(b, uint32(id))
	}
	topics := 0
	for i := range f.parts {
		if f.parts[i].include && f.startsTopic(i) {
			topics++
		}
	}
	b = appendCount(b, topics, flex)
	records := 0 // not in b
	leaders := map[int32]bool{}
	for i := range f.parts {
		p := &f.parts[i]
		if !p.include {
			continue
		}
		if f.startsTopic(i) {
			b = f.appendTopic(b, i, flex)
		}
		b = s.appendFetchPart(b, f, p, left, first, leaders)
		left -= p.sent
		if f.streaming {
			records += p.sent
		}
		first = first && p.sent == 0
		if flex && f.endsTopic(i) {
			b = append(b, 0)
		}
	}
	if flex {
		b = s.appendFetchTags(b, r.version, leaders)
	}
	if session != nil {
		session.told(f.parts)
	}
	buf.b = finishFrame(b)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4+records))
	return buf
}

// plan decides which partitions are in the response and how many bytes of records to expect, and what memory to ask for.
func (f *fetcher) plan(q *fetchQuery, budget int64, incremental bool) (planned int, memory int64) {
	var bytes int64
	for i := range f.parts {
		p := &f.parts[i]
		n := min(p.available, int64(max(p.maxBytes, 0)), budget-bytes)
		if p.available > 0 && bytes == 0 {
			n = max(n, 1) // the first batch goes out whatever its size
		}
		n = max(n, 0)
		bytes += n
		p.include = !incremental || n > 0 || p.code != 0 || p.divergingEnd >= 0 || p.preferred != noReplica ||
			p.hw != p.knownHW || p.logStart != p.knownStart
	}
	return int(bytes), bytes
}

// takeFetchMemory reserves memory for the records of a response. Without records there is nothing to reserve.
func (s *Server) takeFetchMemory(ctx context.Context, n int64) bool {
	if n == 0 || s.fetchBudget.try(n) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, fetchMemoryWait)
	defer cancel()
	return s.fetchBudget.take(ctx, n) == nil
}

// startsTopic reports whether part i is the first of its topic among the included ones around it; endsTopic, whether it is the last.
func (f *fetcher) startsTopic(i int) bool {
	for k := i - 1; k >= 0; k-- {
		if f.parts[k].include {
			return !f.sameTopic(k, i)
		}
	}
	return true
}

func (f *fetcher) endsTopic(i int) bool {
	for k := i + 1; k < len(f.parts); k++ {
		if f.parts[k].include {
			return !f.sameTopic(i, k)
		}
	}
	return true
}

func (f *fetcher) sameTopic(i, k int) bool {
	return f.parts[i].name == f.parts[k].name && f.parts[i].id == f.parts[k].id
}

// appendTopic begins a topic with the number of its partitions.
func (f *fetcher) appendTopic(b []byte, i int, flex bool) []byte {
	p := &f.parts[i]
	if f.query.version >= fetchTopicIDs {
		b = append(b, p.id[:]...)
	} else {
		b = appendString(b, p.name, flex)
	}
	n := 0
	for k := i; k < len(f.parts); k++ {
		if !f.parts[k].include {
			continue
		}
		if !f.sameTopic(i, k) {
			break
		}
		n++
	}
	return appendCount(b, n, flex)
}

// appendFetchPart writes one partition, and reads its records into place or measures them.
func (s *Server) appendFetchPart(b []byte, f *fetcher, p *fetchPart, left int, first bool, leaders map[int32]bool) []byte {
	q := &f.query
	flex := q.version >= fetchFlexible
	begin := len(b)
	b = p.appendHead(b, q)
	p.sent = 0
	maxBytes := min(left, int(max(p.maxBytes, 0)))
	if p.available == 0 || maxBytes == 0 && !first {
		b = appendBytesLength(b, 0, flex)
	} else {
		var err error
		if f.streaming {
			b, err = s.measureRecords(b, p, q, maxBytes, first)
		} else {
			b, err = s.appendRecords(b, p, q, maxBytes, first)
		}
		if err != nil {
			p.settle(-1, -1, err)
			b = p.appendHead(b[:begin], q)
			b = appendBytesLength(b, 0, flex)
		}
	}
	if flex {
		b = s.appendFetchPartTags(b, p, q.version, leaders)
	}
	return b
}

// appendHead writes what stands before a partition's records.
func (p *fetchPart) appendHead(b []byte, q *fetchQuery) []byte {
	be := binary.BigEndian
	b = be.AppendUint32(b, uint32(p.index))
	b = be.AppendUint16(b, uint16(p.code))
	b = be.AppendUint64(b, uint64(p.hw))
	b = be.AppendUint64(b, uint64(p.stable))
	if q.version >= 5 {
		b = be.AppendUint64(b, uint64(p.logStart))
	}
	// Aborted transactions: none to one who asks for committed records, null to others.
	switch flex := q.version >= fetchFlexible; {
	case q.committed:
		b = appendCount(b, 0, flex)
	case flex:
		b = append(b, 0)
	default:
		b = be.AppendUint32(b, 0xffffffff)
	}
	if q.version >= fetchFollowers {
		b = be.AppendUint32(b, uint32(p.preferred))
	}
	return b
}

// appendRecords reads records behind their length. The compact length takes as many bytes as it needs, so place is made for the most
// likely one and the records are moved when it was another.
func (s *Server) appendRecords(b []byte, p *fetchPart, q *fetchQuery, maxBytes int, first bool) ([]byte, error) {
	flex := q.version >= fetchFlexible
	at := len(b)
	b = appendBytesLength(b, int(min(p.available, int64(maxBytes))), flex)
	place := len(b) - at
	b, err := s.readPart(b, p, q, maxBytes, first)
	if err != nil {
		return b, err
	}
	p.sent = len(b) - at - place
	var length [5]byte
	l := appendBytesLength(length[:0], p.sent, flex)
	if len(l) > place {
		b = append(b, length[:len(l)-place]...) // room; the content is overwritten
	}
	if len(l) != place {
		copy(b[at+len(l):], b[at+place:at+place+p.sent])
		b = b[:at+len(l)+p.sent]
	}
	copy(b[at:], l)
	return b, nil
}

func appendBytesLength(b []byte, n int, flex bool) []byte {
	if flex {
		return appendUvarint(b, uint32(n+1))
	}
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

// appendFetchPartTags writes a partition's tagged fields: where the client's log diverges, and who leads.
func (s *Server) appendFetchPartTags(b []byte, p *fetchPart, version int16, leaders map[int32]bool) []byte {
	be := binary.BigEndian
	var leader, epoch int32
	moved := version >= fetchLeaders && (p.code == kerr.NotLeaderForPartition.Code || p.code == kerr.FencedLeaderEpoch.Code)
	if moved {
		leader, epoch, moved = s.currentLeader(p.id, p.index)
	}
	n := byte(0)
	if p.divergingEnd >= 0 {
		n++
	}
	if moved {
		n++
	}
	b = append(b, n)
	if p.divergingEnd >= 0 {
		b = append(b, 0, 13) // tag, size
		b = be.AppendUint32(b, uint32(p.divergingEpoch))
		b = be.AppendUint64(b, uint64(p.divergingEnd))
		b = append(b, 0)
	}
	if moved {
		leaders[leader] = true
		b = append(b, 1, 9)
		b = be.AppendUint32(b, uint32(leader))
		b = be.AppendUint32(b, uint32(epoch))
		b = append(b, 0)
	}
	return b
}

// appendFetchTags ends the response with the addresses of leaders that it names (KIP-951).
func (s *Server) appendFetchTags(b []byte, version int16, leaders map[int32]bool) []byte {
	var nodes []byte
	n := 0
	for id := range leaders {
		e, ok := s.nodeEndpoint(id)
		if !ok {
			continue
		}
		n++
		nodes = binary.BigEndian.AppendUint32(nodes, uint32(e.id))
		nodes = appendString(nodes, e.host, true)
		nodes = binary.BigEndian.AppendUint32(nodes, uint32(e.port))
		if e.rack == nil {
			nodes = append(nodes, 0)
		} else {
			nodes = appendString(nodes, *e.rack, true)
		}
		nodes = append(nodes, 0)
	}
	if n == 0 || version < fetchLeaders {
		return append(b, 0)
	}
	count := appendUvarint(nil, uint32(n+1))
	b = append(b, 1, 0) // one tag: 0
	b = appendUvarint(b, uint32(len(count)+len(nodes)))
	return append(append(b, count...), nodes...)
}
