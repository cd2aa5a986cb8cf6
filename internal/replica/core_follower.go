package replica

import (
	"errors"
	"fmt"
)

// ErrDiverged: a follower's log contradicts its leader's below what was acknowledged. The node must stop: whichever of the two is wrong,
// going on would destroy the evidence.
var ErrDiverged = errors.New("replica has diverged from its leader below what was acknowledged")

// FollowerCore decides for a follower of one partition what it takes over from its leader. It is pure, as LeaderCore is.
type FollowerCore struct {
	self int32
	view *View
	log  Lineage
	// verified is the end up to which the log is known to be the leader's of this epoch; -1 before the first push that fitted.
	verified int64
	faulty   bool // the log is damaged
	bugs     Bugs
}

// NewFollowerCore begins to follow.
func NewFollowerCore(self int32, v *View, log Lineage, bugs Bugs) *FollowerCore {
	return &FollowerCore{self: self, view: v, log: log, verified: -1, bugs: bugs}
}

// Follow takes over a newer view. It reports whether the leader epoch is another one: acks that have not left are void then (R2).
func (f *FollowerCore) Follow(v *View) (epochChanged bool) {
	epochChanged = v.LeaderEpoch != f.view.LeaderEpoch
	f.view = v
	if epochChanged {
		f.verified = -1
	}
	return epochChanged
}

// Push is the head of what a leader sends of one partition: batches follow it.
type Push struct {
	Leader      int32
	LeaderNonce uint64 // boot nonce of the sender
	LeaderEpoch int32
	// PrevEpoch is the epoch of the record before Base; -1: not to be checked, Base is the leader's log start.
	PrevEpoch     int32
	Base          int64
	HighWatermark int64
	LogStart      int64
	// Reset: nothing that the follower has is in the leader's log; it begins anew at Base.
	Reset bool
}

// Check says whether a push fits; if not, what to answer. A push that fits is applied batch by batch with Place, then Verify. It takes back
// p.Reset where that would destroy what was verified in this epoch. hw is the own high watermark.
func (f *FollowerCore) Check(p *Push, hw int64) (fits bool, r Refusal, err error) {
	v := f.view
	if old := f.bugs&BugAcceptOldLeader != 0 && v.Leader != f.self && p.LeaderEpoch <= v.LeaderEpoch; !old {
		m := v.member(p.Leader)
		if v.Leader != p.Leader || v.LeaderEpoch != p.LeaderEpoch || v.Leader == f.self || m == nil || m.Nonce != p.LeaderNonce {
			return false, f.refuse(true), nil
		}
	}
	if f.faulty {
		if p.Reset && !f.view.counts(f.self) { // while it counts, what is good of it may be the last copy
			return true, Refusal{}, nil
		}
		return false, f.refuse(true), nil
	}
	end := f.log.End()
	if p.Reset && f.verified >= 0 && p.Base <= end {
		p.Reset = false // asked for twice: what came since may be acked
	}
	if p.Reset {
		return true, Refusal{}, f.checkReset(p, hw)
	}
	switch {
	case f.overruled(p):
		r = f.refuse(false)
		r.LastEpoch, r.End = -1, -1
		return false, r, nil
	case p.Base < f.log.Start():
		return false, f.below(p, hw), nil
	case p.Base > end:
		return false, f.refuse(false), nil
	case p.PrevEpoch < 0 || p.Base == f.log.Start() || f.bugs&BugNoEpochCheck != 0:
		return true, Refusal{}, nil
	}
	have := epochBefore(f.log, p.Base)
	if have == p.PrevEpoch {
		return true, Refusal{}, nil
	}
	r = f.refuse(false)
	r.LastEpoch, r.End = have, p.Base
	if have > p.PrevEpoch { // the leader never had these records: what may be common to both is of lower epochs
		found, foundEnd := f.log.EpochEnd(p.PrevEpoch)
		r.LastEpoch, r.End = found, max(min(foundEnd, p.Base), f.log.Start())
	}
	return false, r, nil
}

// overruled reports whether an unclean election has given up records of this log. It has to begin anew before anything is acked: their
// high watermark is void, and what is in segments can only go as a whole. An election may even take a partition back to before what was
// deleted here.
func (f *FollowerCore) overruled(p *Push) bool {
	end := f.log.End()
	return f.verified < 0 && !f.view.counts(f.self) && f.view.UncleanEpoch > epochBefore(f.log, end) && (p.Base < end || p.Base < f.log.Start())
}

// below refuses a push from below the log's start. As long as nothing above the start is known to be committed, all that is left here may be
// of epochs which ended, at the leader, below the start: to describe it by its last epoch would bring that push again for ever. Below the
// leader's own start lies only the head of the batch that the start is in; that one does not know this log yet.
func (f *FollowerCore) below(p *Push, hw int64) Refusal {
	r := f.refuse(false)
	if start := f.log.Start(); hw <= start && p.Base >= p.LogStart {
		r.LastEpoch, r.End = p.LeaderEpoch, start
	}
	return r
}

// refuse describes the own log.
func (f *FollowerCore) refuse(notReady bool) Refusal {
	end := f.log.End()
	return Refusal{NotReady: notReady, Faulty: f.faulty, LastEpoch: epochBefore(f.log, end), End: end, LogEnd: end}
}

// Ready describes the own log to the leader that the view shows.
func (f *FollowerCore) Ready() Refusal { return f.refuse(false) }

// checkReset holds that giving up the own log loses nothing that is known to be acknowledged. That the view has this node in sync proves
// nothing of what is above the own high watermark: the leader may have gone on without it, and deleted what both had, in a newer view.
func (f *FollowerCore) checkReset(p *Push, hw int64) error {
	end := f.log.End()
	if min(hw, end) <= p.Base || !f.view.counts(f.self) || f.view.UncleanEpoch > epochBefore(f.log, end) {
		return nil
	}
	return fmt.Errorf("leader %d in epoch %d has a log from %d on, this one ends at %d, has the high watermark %d and is in sync: %w", p.Leader, p.LeaderEpoch,
		p.Base, end, hw, ErrDiverged)
}

// Placement says what to do with a batch of a push.
type Placement uint8

// What is done with a batch.
const (
	PlaceAppend   Placement = iota + 1 // it follows the log's end
	PlaceSkip                          // it is there
	PlaceTruncate                      // cut the log to its base, then append: another epoch's records are there
	PlaceUnclean                       // the same, below the own high watermark, as an unclean election has ordered
)

// Place says what to do with a batch at base of an epoch, in a push that fits. hw is the own high watermark.
func (f *FollowerCore) Place(base int64, epoch int32, hw int64) (Placement, error) {
	if base == f.log.End() {
		return PlaceAppend, nil
	}
	have, ok := f.log.EpochAt(base)
	switch {
	case ok && have == epoch:
		return PlaceSkip, nil
	case !ok:
		return 0, fmt.Errorf("batch at %d does not fit into a log of %d to %d: %w", base, f.log.Start(), f.log.End(), ErrDiverged)
	case base < f.verified && f.bugs&BugTruncateBelowAcked == 0:
		return 0, fmt.Errorf("record %d is of epoch %d here and of %d at the leader, in epoch %d verified to %d: %w", base, have, epoch, f.view.LeaderEpoch, f.verified, ErrDiverged)
	case base >= hw:
		return PlaceTruncate, nil
	case f.view.UncleanEpoch > have:
		return PlaceUnclean, nil
	}
	return 0, fmt.Errorf("record %d is of epoch %d here and of %d at the leader, below the high watermark %d: %w", base, have, epoch, hw, ErrDiverged)
}

// Verify takes note that the log up to end is the leader's, and returns the high watermark that the follower may take over.
func (f *FollowerCore) Verify(p *Push, end int64) (hw int64) {
	f.verified = max(min(f.verified, f.log.End()), end) // the log may have begun anew, and be shorter
	if f.bugs&BugWaterMarkUnverified != 0 {
		return min(p.HighWatermark, f.log.End())
	}
	return min(p.HighWatermark, f.verified)
}

// Verified is the end up to which the log is known to be the leader's; -1 if nothing is.
func (f *FollowerCore) Verified() int64 { return f.verified }
