package controller

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/uuid"
)

// Timing of sessions. On a saturated machine heartbeats were seen to be late by 0.9 to 2.7 s without anything being wrong; the numbers
// follow from that.
const (
	// HeartbeatEvery is how often a broker tells the controller that it is alive.
	HeartbeatEvery = 500 * time.Millisecond
	// TickEvery is how often the controller looks at its sessions.
	TickEvery = 50 * time.Millisecond

	lateBy        = 500 * time.Millisecond // a heartbeat that is later than this is not in time
	silence       = 3 * time.Second        // of a broker before it is fenced
	silenceCalm   = 1500 * time.Millisecond
	silenceMost   = 5 * time.Second
	calmAfter     = time.Minute      // without a late heartbeat
	forgiveAfter  = 10 * time.Minute // a false fence counts less and less until then
	maxFactor     = 4.0
	ownGap        = 200 * time.Millisecond // between two ticks: beyond it, the silence may be our own
	fenceEvery    = time.Second            // at most one silent broker in this time
	unfenceAfter  = 3                      // heartbeats in time
	handOverEvery = 5 * time.Second
	decisionLasts = 2 * time.Second // a decision that the image does not show by then is made again
)

// Incarnation makes the incarnation under which a process registers. It carries the process's boot nonce, so that a controller knows
// which connections are this incarnation's without having seen its registration.
func Incarnation(nonce uint64) uuid.UUID {
	id := uuid.New()
	binary.BigEndian.PutUint64(id[8:], nonce)
	return id
}

// NonceOf is the boot nonce in an incarnation.
func NonceOf(incarnation uuid.UUID) uint64 { return binary.BigEndian.Uint64(incarnation[8:]) }

// Heartbeat is what a broker says every HeartbeatEvery.
type Heartbeat struct {
	BrokerID int32 `json:"broker"`
	Epoch    int64 `json:"epoch"`
	// Applied is the metadata offset that the broker's image shows.
	Applied int64 `json:"applied"`
	// Ready: the broker serves clients. One that has just registered is put into service with the first ready heartbeat.
	Ready bool `json:"ready"`
	// PausedMs is for how long the broker's process did not run just now, at least, as its own clock shows; 0 if it did.
	PausedMs int64 `json:"pausedMs,omitempty"`
}

type decisionKind uint8

const (
	decideFence decisionKind = iota + 1
	decideUnfence
	decideHandOver
)

// decision is what the sessions want done.
type decision struct {
	kind   decisionKind
	broker int32
	epoch  int64
	reason string
}

// session is one incarnation of a broker as its controller sees it. Times are of the owner's clock.
type session struct {
	id      int32
	epoch   int64
	nonce   uint64
	fenced  bool
	fresh   bool          // registered with this controller and not in service since
	heard   time.Duration // the last heartbeat, moved on by own gaps
	got     time.Duration // the last heartbeat, as it came
	late    time.Duration // the last time that a heartbeat was late
	beats   int           // heartbeats in time, in a row
	ready   bool
	applied int64
	gone    bool          // the process has ended
	deposed bool          // it led before this node did, and no heartbeat of it has come since
	ticks   int           // in a row in which it was silent for too long
	asked   time.Duration // when something was decided that the image does not show yet; 0: nothing is
	blamed  bool          // fenced for silence by this controller
	paused  time.Duration // for how long it did not run, as it said since then
	joining bool          // fenced and in ISRs, as it registered; until it is in service or has left them
	factor  float64       // of the silence allowed, after false fences; at factorAt
	since   time.Duration // factorAt
}

// sessions is the pure core: no clock, no I/O. Every input brings the time; decisions are taken with take.
type sessions struct {
	self     int32
	all      map[int32]*session // bound: registered brokers
	lastTick time.Duration
	fencedAt time.Duration // the last fence for silence
	handedAt time.Duration // the last hand-over
	out      []decision
}

func newSessions(self int32) *sessions { return &sessions{self: self, all: map[int32]*session{}} }

// begin starts afresh, with the patience that each broker has at first: this node has just begun to lead. former is the broker that led
// before, silent for so long as this node has seen; 0 for none.
//
// One that has lost the lead because it was silent has been watched already, by this node and by each that voted: nobody does that for
// another while a leader is heard. So the silence counts from where it began, and against the lesser patience.
func (s *sessions) begin(now time.Duration, im *metadata.Image, former int32, silent time.Duration) {
	*s = sessions{self: s.self, all: map[int32]*session{}, lastTick: now, fencedAt: now - fenceEvery, handedAt: now - handOverEvery}
	s.follow(now, im)
	if x := s.all[former]; x != nil && former != s.self && silent > HeartbeatEvery+lateBy {
		x.deposed, x.heard = true, now-min(silent, silence)
	}
}

// heardOf tells for how long nothing has come from a broker, heartbeat or not: a deposed leader that says anything is not silent.
func (s *sessions) heardOf(now time.Duration, id int32, silent time.Duration) {
	if x := s.all[id]; x != nil && x.deposed {
		x.heard = max(x.heard, now-silent)
	}
}

// deposed lists those of whom heardOf wants to know.
func (s *sessions) deposed() (ids []int32) {
	for id, x := range s.all {
		if x.deposed {
			ids = append(ids, id)
		}
	}
	return ids
}

// follow takes over who is registered, and who is in service.
func (s *sessions) follow(now time.Duration, im *metadata.Image) {
	for id := range s.all {
		if im.Broker(id) == nil {
			delete(s.all, id)
		}
	}
	for b := range im.Brokers() {
		x := s.all[b.ID]
		if x == nil || x.epoch != b.Epoch {
			next := &session{id: b.ID, epoch: b.Epoch, nonce: NonceOf(b.Incarnation), fenced: b.Fenced, joining: b.Fenced && inAnyISR(im, b.ID), heard: now, late: now, factor: 1, since: now}
			if x != nil {
				next.factor, next.since = x.factor, x.since
			}
			s.all[b.ID] = next
			continue
		}
		if x.fenced != b.Fenced {
			x.fenced, x.asked, x.ticks = b.Fenced, 0, 0
			if !b.Fenced {
				x.fresh, x.blamed, x.joining = false, false, false
			}
		}
	}
}

// inAnyISR reports whether the broker is an in-sync replica of anything.
func inAnyISR(im *metadata.Image, id int32) bool {
	for t := range im.Topics() {
		if slices.ContainsFunc(t.Partitions, func(p *metadata.Partition) bool { return p.InISR(id) }) {
			return true
		}
	}
	return false
}

// registered tells that an incarnation has registered here, now: it goes into service as soon as it is ready.
func (s *sessions) registered(now time.Duration, id int32, epoch int64) {
	if x := s.all[id]; x != nil && x.epoch == epoch && x.fenced {
		x.fresh, x.heard = true, now
	}
}

// heartbeat takes one in. known is false for an incarnation that is not the registered one.
func (s *sessions) heartbeat(now time.Duration, h *Heartbeat) (fenced, known bool) {
	x := s.all[h.BrokerID]
	if x == nil || x.epoch != h.Epoch {
		return true, false
	}
	if now-x.heard > HeartbeatEvery+lateBy {
		x.late, x.beats = now, 0
	}
	x.beats = min(x.beats+1, unfenceAfter)
	x.got, x.heard, x.ticks, x.gone, x.deposed, x.ready = now, now, 0, false, false, h.Ready
	x.applied = max(x.applied, h.Applied)
	x.paused = max(x.paused, time.Duration(h.PausedMs)*time.Millisecond)
	s.considerUnfence(now, x)
	return x.fenced, true
}

func (s *sessions) considerUnfence(now time.Duration, x *session) {
	if !x.fenced || !x.ready || x.applied < x.epoch || x.waits(now) {
		return
	}
	if x.fresh || x.beats >= unfenceAfter {
		x.asked = now
		s.judge(now, x)
		s.out = append(s.out, decision{kind: decideUnfence, broker: x.id, epoch: x.epoch})
	}
}

// judge makes the controller more patient with a broker that was fenced for its silence and is there again, unless its process stood still
// for so long that nobody should have waited for it.
func (s *sessions) judge(now time.Duration, x *session) {
	if x.blamed && x.paused < silence {
		x.factor, x.since = min(2*x.factorAt(now), maxFactor), now
	}
	x.blamed = false
}

// ended tells that the process with this nonce has ended: its connections are closed and nobody listens, or another process is there.
func (s *sessions) ended(id int32, nonce uint64) {
	if x := s.all[id]; x != nil && x.nonce == nonce && id != s.self {
		x.gone = true
	}
}

// waits reports whether a decision about the broker is under way.
func (x *session) waits(now time.Duration) bool { return x.asked != 0 && now-x.asked < decisionLasts }

// factorAt is by how much false fences have made the allowed silence longer.
func (x *session) factorAt(now time.Duration) float64 {
	left := 1 - float64(now-x.since)/float64(forgiveAfter)
	return 1 + (x.factor-1)*max(left, 0)
}

// patience is the silence after which the broker is fenced.
func (x *session) patience(now time.Duration) time.Duration {
	limit := silence
	if x.deposed || now-x.late >= calmAfter {
		limit = silenceCalm
	}
	return min(time.Duration(float64(limit)*x.factorAt(now)), silenceMost)
}

// tick decides who is fenced. A silence has to be seen in two ticks: what arrived during a pause of this process is read in between.
func (s *sessions) tick(now time.Duration) {
	if gap := now - s.lastTick; gap > ownGap {
		for _, x := range s.all {
			x.heard = min(x.heard+gap, now)
		}
	}
	s.lastTick = now
	live, silent := 0, []*session(nil)
	for _, x := range s.all {
		if x.fenced {
			if x.joining && x.id != s.self && (x.gone || now-x.heard > silenceMost) {
				s.fence(now, x, "it has gone before it came into service")
			}
			continue
		}
		switch {
		case x.id == s.self:
			live++
		case x.gone:
			s.fence(now, x, "its process has ended")
		default:
			live++
			if now-x.heard > x.patience(now) {
				if x.ticks++; x.ticks >= 2 {
					silent = append(silent, x)
				}
			} else {
				x.ticks = 0
			}
		}
	}
	switch {
	case len(silent) == 0:
	case 2*len(silent) >= live:
		if now-s.handedAt >= handOverEvery {
			s.handedAt = now
			s.out = append(s.out, decision{kind: decideHandOver, broker: s.self, reason: "half of the brokers or more are silent"})
		}
	case now-s.fencedAt >= fenceEvery:
		worst := slices.MinFunc(silent, func(a, b *session) int {
			if a.heard != b.heard {
				return int(a.heard - b.heard)
			}
			return int(a.id - b.id)
		})
		if s.fence(now, worst, "it has been silent for "+(now-worst.heard).Round(time.Millisecond).String()) {
			worst.blamed, worst.paused = true, 0
			s.fencedAt = now
		}
	}
}

func (s *sessions) fence(now time.Duration, x *session, reason string) bool {
	if x.waits(now) {
		return false
	}
	x.asked, x.beats = now, 0
	s.out = append(s.out, decision{kind: decideFence, broker: x.id, epoch: x.epoch, reason: reason})
	return true
}

// left tells that a fenced broker is in no ISR any more.
func (s *sessions) left(id int32, epoch int64) {
	if x := s.all[id]; x != nil && x.epoch == epoch && x.fenced {
		x.joining, x.asked = false, 0
	}
}

// take returns what was decided since the last time.
func (s *sessions) take() []decision {
	out := s.out
	s.out = nil
	return out
}

// heardFrom counts those of the voters that were heard in the time before now, this node included. Own gaps are no excuse here: a
// controller that has slept does not know whether it still is one.
func (s *sessions) heardFrom(now, within time.Duration, voters []metadata.Voter) int {
	n := 0
	for _, v := range voters {
		if x := s.all[v.NodeID]; v.NodeID == s.self || x != nil && x.beats > 0 && now-x.got <= within {
			n++
		}
	}
	return n
}
