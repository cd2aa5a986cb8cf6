package kafkaserver

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/replica"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	// Kafka advertises Produce from 0, because old librdkafka turns compression off otherwise (KAFKA-18659), and serves from 3.
	add(&api{key: kmsg.Produce, min: 0, serveMin: 3, max: 13, maxBytes: 1 << 30, raw: (*Server).produce})
}

const (
	produceTopicIDs = 13 // first version that names topics by id
	produceFlexible = 9
	produceZstd     = 7 // first version that may carry zstd

	// admitPatience is how long a producer is held back while the WAL is full, before it is told.
	admitPatience = 5 * time.Second
	admitRetry    = 5 * time.Millisecond
	// newsWithin is how long a producer is held back that may know of a leader before this node does; one whose leader this node has known
	// for less than newsLate is behind itself.
	newsWithin    = 100 * time.Millisecond
	newsLate      = time.Second
	becomesLeader = time.Millisecond // between looks whether a replica that is to lead does
)

// produceCall is one Produce request from parsing to its response. It is pooled; the waiters inside are with replicas meanwhile.
type produceCall struct {
	s       *Server
	conn    *conn
	slot    uint64
	version int16
	corrID  int32
	acks    int16
	txn     bool // a transactional id was given
	timeout int32
	nowMs   int64

	topics  []produceTopic
	parts   []producePart
	news    time.Time    // until when news of a leader is waited for; zero: nobody has
	pending atomic.Int32 // partitions without an outcome, and one while they are being appended
}

// produceTopic is one topic of a request; its partitions are parts[from:to].
type produceTopic struct {
	name     []byte // aliases the frame: valid while appending
	id       uuid.UUID
	topic    *metadata.Topic // nil: unknown
	label    string          // name for the response
	from, to int
}

// producePart is one partition of a request and its outcome.
type producePart struct {
	waiter  replica.Waiter
	records []byte // aliases the frame: valid while appending
	replica *replica.Replica
	err     error
	index   int32

	code                       int16
	superseded                 bool // the same partition comes again later in the request
	baseOffset, timeMs, startO int64
}

var produceCalls = sync.Pool{New: func() any { return new(produceCall) }}

// produce parses a request, appends its batches, and leaves; the response is sent by whoever makes the last batch committed.
func (s *Server) produce(r *request, body []byte) error {
	p := produceCalls.Get().(*produceCall)
	p.s, p.conn, p.slot, p.version, p.corrID = s, r.conn, r.slot, r.version, r.corrID
	if !p.parse(body) {
		p.recycle()
		return errBody
	}
	p.nowMs = time.Now().UnixMilli()
	p.pending.Store(1)
	if err := p.refuseAll(); err != nil {
		for i := range p.parts {
			p.parts[i].fail(err, -1)
		}
	} else {
		p.resolve()
		for t := range p.topics {
			for i := p.topics[t].from; i < p.topics[t].to; i++ {
				if p.parts[i].err == nil && !p.parts[i].superseded {
					p.append(&p.topics[t], &p.parts[i], i)
				}
			}
		}
	}
	if p.acks == 0 {
		return p.finishSilently()
	}
	p.settle(false)
	return nil
}

// parse reads the request. The walker has seen it, so false never happens; it is checked all the same.
func (p *produceCall) parse(body []byte) bool {
	r := bodyReader{b: body, flex: p.version >= produceFlexible}
	p.txn = r.string() != nil
	p.acks = r.int16()
	p.timeout = r.int32()
	for range r.count() {
		t := produceTopic{from: len(p.parts)}
		if p.version >= produceTopicIDs {
			copy(t.id[:], r.take(len(t.id)))
		} else {
			t.name = r.string()
		}
		for range r.count() {
			p.parts = append(p.parts, producePart{index: r.int32(), records: r.bytes(), baseOffset: -1, timeMs: -1, startO: -1})
			r.tags()
			if r.bad {
				return false
			}
		}
		r.tags()
		t.to = len(p.parts)
		p.topics = append(p.topics, t)
	}
	r.tags()
	return !r.bad
}

// refuseAll is an error that concerns every partition alike.
func (p *produceCall) refuseAll() error {
	if p.txn {
		// Transactions are not served: InitProducerId refuses the transactional id, so no well-behaved client comes here.
		return kerr.TransactionalIDAuthorizationFailed
	}
	for i := range p.parts {
		// A batch says itself that it is transactional, and needs the request to say so too.
		if h, err := recordbatch.ParseHeader(p.parts[i].records); err == nil && h.Transactional() {
			return kerr.TransactionalIDAuthorizationFailed
		}
	}
	return nil
}

// resolve finds the replicas, and gives partitions an error that have none.
func (p *produceCall) resolve() {
	im := p.s.image()
	for i := range p.topics {
		t := &p.topics[i]
		unknown := error(kerr.UnknownTopicOrPartition)
		if p.version >= produceTopicIDs {
			t.topic = im.TopicByID(t.id)
			unknown = kerr.UnknownTopicID
		} else {
			t.topic = p.conn.topics.byName(im, t.name)
		}
		if t.topic == nil {
			t.label = string(t.name)
			if string(t.name) == metadata.MetadataTopic || t.id == metadata.MetadataTopicID {
				unknown = kerr.InvalidTopicException
			}
		} else {
			t.label, t.id = t.topic.Name, t.topic.ID
		}
		for k := t.from; k < t.to; k++ {
			part := &p.parts[k]
			switch {
			case t.topic == nil:
				part.fail(unknown, -1)
				continue
			case t.topic.Partition(part.index) == nil:
				part.fail(kerr.UnknownTopicOrPartition, -1)
				continue
			case p.acks != 0 && p.acks != 1 && p.acks != -1:
				part.fail(kerr.InvalidRequiredAcks, -1)
				continue
			case reservedTopic(t.topic):
				part.fail(kerr.InvalidTopicException, -1)
				continue
			}
			if part.replica = p.s.deps.Replicas.Get(t.topic.ID, part.index); part.replica == nil {
				part.fail(replica.ErrNotLeader, -1)
			}
		}
	}
	p.supersede()
}

// supersede makes the last of several batches for one partition the only one, as Kafka does.
func (p *produceCall) supersede() {
	if len(p.parts) < 2 {
		return
	}
	if len(p.parts) <= 16 {
		for i := range p.parts {
			for k := i + 1; k < len(p.parts) && !p.parts[i].superseded; k++ {
				p.parts[i].superseded = p.parts[i].replica != nil && p.parts[i].replica == p.parts[k].replica
			}
		}
		return
	}
	last := make(map[*replica.Replica]int, len(p.parts))
	for i := range p.parts {
		if r := p.parts[i].replica; r != nil {
			if k, again := last[r]; again {
				p.parts[k].superseded = true
			}
			last[r] = i
		}
	}
}

// reservedTopic reports whether clients must not write a topic.
func reservedTopic(t *metadata.Topic) bool { return t.Internal || reservedName(t.Name) }

// reservedName reports whether a name belongs to the cluster, whether or not there is such a topic. Other names that begin with two
// underscores are the users': Debezium and others write such topics.
func reservedName(name string) bool {
	if !strings.HasPrefix(name, "__") {
		return false
	}
	switch name {
	case metadata.OffsetsTopic, "__transaction_state", "__share_group_state", "__cluster_metadata":
		return true
	}
	return strings.HasPrefix(name, "__chronik")
}

// append checks one batch, appends it, and begins to wait for it.
func (p *produceCall) append(t *produceTopic, part *producePart, i int) {
	r := part.replica
	p.awaitNews(r)
	if err := r.CheckLeader(-1); err != nil {
		part.fail(err, -1)
		return
	}
	log := r.Log()
	config := log.Config()
	info, err := recordbatch.Validate(part.records, config.Limits(p.nowMs))
	if err == nil && info.Codec() == recordbatch.Zstd && p.version < produceZstd {
		err = kerr.UnsupportedCompressionType
	}
	if err != nil {
		part.fail(err, logStartFor(err, log))
		return
	}
	batch := part.records[:info.Size()]
	if p.acks == -1 { // before waiting for room, which may not come while too few are in sync
		if err := r.CheckEnough(); err != nil {
			part.fail(err, -1)
			return
		}
	}
	if err := p.admit(log, len(batch)); err != nil {
		part.fail(err, -1)
		return
	}
	res, epoch, err := r.Append(batch, info, p.nowMs, p.acks == -1)
	if err != nil {
		part.fail(err, logStartFor(err, log))
		return
	}
	part.baseOffset, part.timeMs, part.startO = res.BaseOffset, res.AppendTimeMs, res.LogStart
	if p.acks == 0 {
		return
	}
	p.pending.Add(1)
	part.waiter.Done, part.waiter.Index = p, i
	r.Await(&part.waiter, epoch, res.LastOffset+1, p.acks == -1, p.nowMs+int64(max(p.timeout, 0)))
}

// awaitNews waits a moment for this node to learn that it leads. A client that the leader before sent here, because it stops, may be
// quicker than the metadata; told that this node does not lead, it would wait for seconds. One that comes because it is behind itself is
// not held up: this node has learnt lately that it leads no more.
//
// Between the news and the lead, too, it is waited: an answer that names this node, in the epoch that the client knows, is taken for an old one.
func (p *produceCall) awaitNews(r *replica.Replica) {
	if r.Leads() || !p.s.forwards() || p.s.cutOff() {
		return
	}
	if p.news.IsZero() {
		p.news = time.Now().Add(newsWithin)
	}
	epoch, late := r.LeaderEpoch(), r.LeaderKnownFor() >= newsLate
	for !r.Leads() && time.Now().Before(p.news) && p.conn.ctx.Err() == nil {
		if r.Leader() == p.s.deps.NodeID {
			time.Sleep(becomesLeader)
			continue
		}
		if !late || r.LeaderEpoch() != epoch {
			return
		}
		look, cancel := context.WithDeadline(p.conn.ctx, p.news)
		_ = p.s.deps.Meta.WaitApplied(look, p.s.image().Offset()+1) // the next image, or the end of the time
		cancel()
	}
}

// admit waits a while for room in the WAL, and for followers that are behind: holding one producer back is gentler than telling all to
// come again.
func (p *produceCall) admit(log *partition.Log, n int) error {
	look := func() (again bool, err error) {
		if err := p.s.deps.Store.Admit(n); err != nil {
			return errors.Is(err, partition.ErrWALFull), err
		}
		err = log.AdmitUncommitted(n)
		return err != nil, err
	}
	again, err := look()
	for deadline := time.Now().Add(admitPatience); again && time.Now().Before(deadline) && p.conn.ctx.Err() == nil; {
		time.Sleep(admitRetry)
		again, err = look()
	}
	return err
}

// logStartFor is the log start offset that goes with an error: Kafka gives it where the log itself refused the batch.
func logStartFor(err error, log *partition.Log) int64 {
	for _, early := range []error{recordbatch.ErrNoBatch, recordbatch.ErrManyBatches, recordbatch.ErrOldMagic, recordbatch.ErrTooShort,
		recordbatch.ErrMagic, recordbatch.ErrCRC, recordbatch.ErrTooLarge, replica.ErrNotLeader, replica.ErrNotEnoughReplicas,
		kerr.UnsupportedCompressionType} {
		if errors.Is(err, early) {
			return -1
		}
	}
	return log.Start()
}

// fail gives a partition its error.
func (part *producePart) fail(err error, logStart int64) {
	part.err, part.code = err, errorCode(err)
	part.baseOffset, part.timeMs, part.startO = -1, -1, logStart
}

// Committed is told by the replica how a wait ended (replica.Done).
func (p *produceCall) Committed(w *replica.Waiter, err error) {
	if err != nil {
		p.parts[w.Index].fail(err, -1)
	}
	p.settle(w.InCommit)
}

// settle counts one outcome; the last one completes the response. In a commit it is sent with all others that the commit completes.
func (p *produceCall) settle(inCommit bool) {
	if p.pending.Add(-1) > 0 {
		return
	}
	if p.unsettled() {
		go func() {
			p.awaitLeaders()
			p.complete(false)
		}()
		return
	}
	p.complete(inCommit)
}

// complete sends the response.
func (p *produceCall) complete(inCommit bool) {
	buf := p.respond()
	s, c, slot := p.s, p.conn, p.slot
	p.logUnknown()
	p.recycle()
	if !c.out.fill(slot, buf) {
		return
	}
	if inCommit {
		s.ready.add(&c.out)
	} else {
		c.out.flush(false)
	}
}

// finishSilently ends a request with acks=0: nothing is sent, and an error closes the connection, so that the client looks for the
// leader again.
func (p *produceCall) finishSilently() error {
	var err error
	for i := range p.parts {
		if p.parts[i].err != nil {
			err = errAcksZero
		}
	}
	p.logUnknown()
	c, slot := p.conn, p.slot
	p.recycle()
	c.out.complete(slot, nil)
	return err
}

// logUnknown logs errors that have no Kafka code of their own: something is wrong here, not with the client.
func (p *produceCall) logUnknown() {
	for i := range p.parts {
		if err := p.parts[i].err; err != nil && !errorKnown(err) {
			p.s.log.Warn("produce failed", "partition", p.parts[i].index, "err", err)
		}
	}
}

// recycle puts the call back for another request.
func (p *produceCall) recycle() {
	clear(p.topics)
	clear(p.parts)
	p.topics, p.parts = p.topics[:0], p.parts[:0]
	p.conn, p.s, p.news = nil, nil, time.Time{}
	if cap(p.parts) <= 256 {
		produceCalls.Put(p)
	}
}
