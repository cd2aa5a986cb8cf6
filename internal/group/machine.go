package group

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// machine is the state of one partition of __consumer_offsets: its groups, their members and offsets. It does no I/O, reads no clock
// and starts no goroutine: its owner sets now before every input, and append is where records leave it. State is changed when a record is
// appended, so it always equals what replaying the log gives; answers that depend on a record are held until it is durable.
type machine struct {
	cfg    *Config
	log    *slog.Logger
	usage  *usage
	now    time.Time
	newID  func() string // the random part of a member id
	append func(records []record, done func(error)) error

	groups map[string]*group
	timers timers

	appended, durable int64 // numbers of the last append, and of the last that is durable
	held              []heldAnswer
	lastDelete        int64 // the append that last deleted a group
	broken            error // an append failed after it was accepted: the state is ahead of the log
	dropped           error // not nil: the partition is no longer served from this state

	rewriting    bool      // the cleaner is at work
	rewriteAfter time.Time // it failed, and is not tried again before this

	live  size // what a rewrite of the state would append
	grown size // what was appended since the last rewrite began
}

// heldAnswer waits for an append.
type heldAnswer struct {
	number int64
	answer func(error)
}

// size measures records.
type size struct{ records, bytes int64 }

// usage counts what all machines of a node hold, against the bounds of Config.
type usage struct {
	groups, bytes atomic.Int64
}

const (
	// minDelay keeps a timer from being due in the tick that sets it.
	minDelay = time.Millisecond
	// pauseGrace: a session that is found expired later than this after its time says that this process did not run, not that the
	// member was silent; it then gets the time that was lost.
	pauseGrace = time.Second
	// offsetOverhead and groupOverhead are what an offset and a group cost in memory beside their bytes, roughly.
	offsetOverhead = 100
	groupOverhead  = 1000
)

func newMachine(cfg *Config, log *slog.Logger, u *usage, newID func() string) *machine {
	return &machine{cfg: cfg, log: log, usage: u, newID: newID, groups: map[string]*group{}}
}

func (m *machine) nowMs() int64 { return m.now.UnixMilli() }

// tick fires the timers that are due.
func (m *machine) tick() {
	for t := m.timers.pop(m.now); t != nil; t = m.timers.pop(m.now) {
		t.fire()
	}
}

func (m *machine) arm(t *timer, delay time.Duration) {
	m.timers.set(t, m.now.Add(max(delay, minDelay)))
}

// full tells whether the node's bounds allow no further group or offset.
func (m *machine) full() bool {
	return m.usage.groups.Load() >= int64(m.cfg.MaxGroups) || m.usage.bytes.Load() >= m.cfg.MaxStateBytes
}

// open adds a group that does not exist yet.
func (m *machine) open(id string) *group {
	g := newGroup(id, m.nowMs())
	m.groups[id] = g
	m.usage.groups.Add(1)
	m.usage.bytes.Add(groupOverhead + int64(len(id)))
	return g
}

// forget removes a group from memory with everything in it. Its members have been answered.
func (m *machine) forget(g *group) {
	m.timers.cancel(&g.joinTimer)
	m.timers.cancel(&g.syncTimer)
	for _, t := range g.pending {
		m.timers.cancel(t)
	}
	for _, mem := range g.members {
		m.timers.cancel(&mem.session)
		m.usage.bytes.Add(-mem.cost)
	}
	for topic, partitions := range g.offsets {
		for partition := range partitions {
			m.dropOffset(g, topic, partition)
		}
	}
	m.setStored(g, nil)
	delete(m.groups, g.id)
	m.usage.groups.Add(-1)
	m.usage.bytes.Add(-groupOverhead - int64(len(g.id)))
}

// forgetUnused drops a group that has nothing worth keeping: one that only ever gave out member ids.
func (m *machine) forgetUnused(g *group) {
	if g.unused() && m.groups[g.id] == g {
		m.forget(g)
	}
}

// drop answers everything that waits: the partition is lost, or was never stored as this state says.
func (m *machine) drop(err error) {
	m.dropped = err
	for _, g := range m.groups {
		for _, mem := range g.members {
			g.answerJoin(mem, JoinResult{MemberID: mem.id}, err)
			g.answerSync(mem, SyncResult{}, err)
		}
		m.forget(g)
	}
	m.release(0, err)
}

// write appends records that belong to g. If it returns nil the caller applies them to the state at once; then, if given, is called when
// the last of them is durable, or with an error when the machine is broken or dropped.
func (m *machine) write(g *group, records []record, then func(error)) error {
	if err := m.writeAll(records, then); err != nil {
		return fmt.Errorf("append records of group %q: %w", g.id, err)
	}
	g.lastWrite = m.appended
	return nil
}

// writeAll is write for records of any groups. It makes as many batches as needed.
func (m *machine) writeAll(records []record, then func(error)) error {
	for i := range records {
		if records[i].size() > m.cfg.MaxBatchBytes {
			return fmt.Errorf("%d bytes: %w", records[i].size(), ErrRecordTooLarge)
		}
	}
	for first := true; len(records) > 0; first = false {
		n, bytes := 0, 0
		for n < len(records) && (n == 0 || bytes+records[n].size() <= m.cfg.MaxBatchBytes) {
			bytes += records[n].size()
			n++
		}
		number, last := m.appended+1, n == len(records)
		err := m.append(records[:n], func(err error) {
			if m.dropped != nil {
				err = m.dropped
			}
			m.completed(number, err)
			if last && then != nil {
				then(err)
			}
		})
		if err != nil {
			if !first {
				m.broken = err
			}
			return err
		}
		m.appended = number
		m.grown.records += int64(n)
		m.grown.bytes += int64(bytes)
		records = records[n:]
	}
	return nil
}

// completed notes that an append is durable, or that it is not known to be.
func (m *machine) completed(number int64, err error) {
	if err != nil {
		m.broken = err
		return
	}
	m.durable = max(m.durable, number)
	m.release(number, nil)
}

// release gives the answers that were held for appends up to number; with an error all of them.
func (m *machine) release(number int64, err error) {
	n := 0
	for n < len(m.held) && (err != nil || m.held[n].number <= number) {
		m.held[n].answer(err)
		n++
	}
	m.held = append(m.held[:0], m.held[n:]...)
}

// afterWrite calls answer when the append of that number is durable: at once if it is.
func (m *machine) afterWrite(number int64, answer func(error)) {
	if number <= m.durable {
		answer(nil)
		return
	}
	at := len(m.held) // numbers are nearly always ascending
	for at > 0 && m.held[at-1].number > number {
		at--
	}
	m.held = append(m.held, heldAnswer{})
	copy(m.held[at+1:], m.held[at:])
	m.held[at] = heldAnswer{number, answer}
}

// setOffset and dropOffset change a committed offset in memory.
func (m *machine) setOffset(g *group, topic string, partition int32, o offset) {
	partitions := g.offsets[topic]
	if partitions == nil {
		partitions = map[int32]offset{}
		g.offsets[topic] = partitions
	}
	if old, ok := partitions[partition]; ok {
		m.account(-1, -offsetBytes(g.id, topic, &old), offsetOverhead)
	}
	partitions[partition] = o
	m.account(1, offsetBytes(g.id, topic, &o), offsetOverhead)
}

func (m *machine) dropOffset(g *group, topic string, partition int32) {
	partitions := g.offsets[topic]
	old, ok := partitions[partition]
	if !ok {
		return
	}
	m.account(-1, -offsetBytes(g.id, topic, &old), offsetOverhead)
	if delete(partitions, partition); len(partitions) == 0 {
		delete(g.offsets, topic)
	}
}

func offsetBytes(group, topic string, o *offset) int64 {
	const fixed = 2 + 2 + 2 + 4 + 2 + 8 + 4 + 2 + 8 + recordOverheadEstimate
	return int64(fixed + len(group) + len(topic) + len(o.metadata))
}

// setStored notes the group's metadata record as it is in the log now.
func (m *machine) setStored(g *group, value []byte) {
	if g.stored != nil {
		m.account(-1, -int64(len(g.stored)+len(g.id)+4+recordOverheadEstimate), 0)
	}
	if g.stored = value; value != nil {
		m.account(1, int64(len(value)+len(g.id)+4+recordOverheadEstimate), 0)
	}
}

func (m *machine) account(records, bytes, overhead int64) {
	m.live.records += records
	m.live.bytes += bytes
	m.usage.bytes.Add(bytes + records*overhead)
}

// store appends the group's metadata record.
func (m *machine) store(g *group, value []byte, then func(error)) error {
	if err := m.write(g, []record{{groupKey(g.id), value}}, then); err != nil {
		return err
	}
	m.setStored(g, value)
	return nil
}

// recost notes what a member costs in memory after it changed.
func (m *machine) recost(mem *member) {
	cost := mem.bytes()
	m.usage.bytes.Add(cost - mem.cost)
	mem.cost = cost
}

// unavailable makes the error of a failed append one that clients retry on.
func unavailable(err error) error {
	for _, own := range []error{ErrRecordTooLarge, ErrNotCoordinator, ErrStopped, ErrNotAvailable} {
		if errors.Is(err, own) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrNotAvailable, err)
}
