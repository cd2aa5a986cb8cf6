package metalog

import (
	"fmt"
	"slices"
)

// Recovered is what a core starts with.
type Recovered struct {
	Promised Ballot
	Base     Position // before the first of Entries; not above Commit
	Entries  []Entry  // the end of the log
	Start    int64    // first offset on disk
	Lineage  []EpochSpan
	Voters   []VoterSet // the one in force at Commit, then later ones
	Fault    *Fault
	NewFault bool // Fault was found at this start, and is not on disk yet
	Anchor   bool // the log was given up for the image at Base, which is not on disk yet
	Peers    []PeerBoot
	Boots    []PeerBoot // own processes, oldest first
	Image    Position
	Commit   int64
}

var (
	errImageLost = fmt.Errorf("%w: the image cannot be read", ErrDamaged)
	errChain     = fmt.Errorf("%w: the log's entries do not follow each other", ErrDamaged)
	// errPromiseLost: the last promise may have been in what was damaged, and nothing later says what it was.
	errPromiseLost = fmt.Errorf("%w: a promise may be lost", ErrDamaged)
)

// Rebuilder replays frames, in the order in which they were written, into the state of a log. The simulator runs it too.
type Rebuilder struct {
	genesis VoterSet
	image   *ImageMeta // the newest image that can be read
	staged  *ImageMeta // an image from another member, in force only if a Reset names it
	keep    int64      // bytes of committed entries to keep

	log      tail
	anchored bool // the place of the log's first entry is known
	start    int64
	spans    []EpochSpan
	voters   []VoterSet
	promised Ballot
	peers    []PeerBoot
	boots    []PeerBoot
	fault    int64
	known    int64

	atImage Hash // of the entry before the image's end, as last seen

	gap      bool   // something is missing here, and it is not known what
	gapKnown int64  // the commit as known before it
	lost     uint64 // commits missing since the last promise that was seen
	lostEver uint64
	hidden   bool // a fault mark may be in a gap
}

// NewRebuilder begins with the newest image, and with one that was being installed (nil for none).
func NewRebuilder(founders []Member, image, staged *ImageMeta, keepBytes int64) *Rebuilder {
	return &Rebuilder{genesis: VoterSet{Offset: -1, Members: founders}, image: image, staged: staged, keep: keepBytes, fault: -1}
}

// StagedInForce reports whether the staged image has become the newest.
func (r *Rebuilder) StagedInForce() bool { return r.staged != nil && r.image == r.staged }

// End is the end of the log so far.
func (r *Rebuilder) End() int64 { return r.log.end() }

// Start is the first offset of the log so far.
func (r *Rebuilder) Start() int64 { return r.start }

// Known is the commit as far as the frames say.
func (r *Rebuilder) Known() int64 { return min(r.known, r.log.end()) }

// Slice is the entries from an offset up to the known commit, as far as they are in memory.
func (r *Rebuilder) Slice(from int64) []Entry {
	if to := r.Known(); from >= r.log.base.End && from < to {
		return r.log.slice(from, to, r.log.bytes)
	}
	return nil
}

// Gap says that commits are missing here: what they held is not known. A promise stands in two commits, so the loss of one cannot have
// taken it along.
func (r *Rebuilder) Gap(commits uint64) {
	if commits == 0 {
		return // a file's header, and none of its commits
	}
	if !r.gap {
		r.gap, r.gapKnown = true, r.Known()
	}
	r.lost += commits
	r.lostEver += commits
}

// Frame takes the next frame. It reports whether an entry was appended to the log; it may have been cut at the entry's offset before.
func (r *Rebuilder) Frame(f *Frame) (appended bool, err error) {
	if !r.gap {
		r.known = max(r.known, f.Known)
	}
	switch f.Kind {
	case FrameEntry:
		return r.entry(&f.Entry)
	case FramePromise:
		if f.Ballot.Term >= r.promised.Term {
			r.promised = f.Ballot
		}
		r.lost = 0
	case FrameTruncate:
		if r.gap && f.Offset > r.gapKnown {
			break // what stood below it is not known
		}
		if r.anchored && f.Offset < r.start {
			r.unanchor() // what was read so far is of a branch that was given up; where it began is no longer on disk
		}
		if !r.anchored {
			r.bridged()
			break
		}
		if f.Offset < r.log.base.End || f.Offset > r.log.end() {
			if r.gap {
				break
			}
			return false, fmt.Errorf("truncation to %d of a log from %d to %d: %w", f.Offset, r.log.base.End, r.log.end(), errChain)
		}
		r.cut(f.Offset)
		r.bridged()
	case FrameFault:
		r.fault = f.Offset
	case FrameClear:
		r.fault, r.hidden, r.lostEver = -1, false, 0 // whatever was marked before is repaired
	case FrameReset:
		return false, r.reset(f.At)
	case FramePeer:
		r.peer(f.Peer)
	case FrameBoot:
		if n := len(r.boots); n == 0 || r.boots[n-1].Boot < f.Peer.Boot {
			r.boots = append(r.boots, f.Peer)
		}
	}
	return false, nil
}

func (r *Rebuilder) peer(p PeerBoot) {
	for i := range r.peers {
		if r.peers[i].Member == p.Member {
			if p.Boot >= r.peers[i].Boot {
				r.peers[i] = p
			}
			return
		}
	}
	r.peers = append(r.peers, p)
}

func (r *Rebuilder) cut(to int64) {
	if to < r.log.end() {
		r.log.cut(to)
	}
	for n := len(r.spans); n > 0 && r.spans[n-1].Start >= to; n-- {
		r.spans = r.spans[:n-1]
	}
	for n := len(r.voters); n > 0 && r.voters[n-1].Offset >= to; n-- {
		r.voters = r.voters[:n-1]
	}
}

// reset makes the log the image at a position and nothing else.
func (r *Rebuilder) reset(at Position) error {
	if r.staged != nil && r.staged.At == at && (r.image == nil || r.image.At.End < at.End) {
		r.image = r.staged
	}
	if r.image == nil || r.image.At.End < at.End {
		return fmt.Errorf("log begins at an image at %d: %w", at.End, errImageLost)
	}
	r.anchor(at)
	r.bridged()
	return nil
}

func (r *Rebuilder) anchor(at Position) {
	r.log, r.start, r.anchored = tail{base: at}, at.End, true
	r.spans, r.voters = nil, nil
	r.known = at.End
}

// bridged ends a gap: what follows shows what the log was behind it. It does not show whether there was a fault mark: where more than
// one commit is missing, one may have been the loss and the other its mark.
func (r *Rebuilder) bridged() {
	r.hidden = r.hidden || r.gap && r.lostEver > 1
	r.gap = false
}

// unanchor forgets all entries: the place of the next one shows where the log begins.
func (r *Rebuilder) unanchor() {
	known := r.known
	r.anchor(Position{})
	r.anchored, r.known = false, known
}

func (r *Rebuilder) entry(e *Entry) (bool, error) {
	if r.gap {
		at, ok := r.log.at(e.Offset)
		switch {
		case ok && at.Hash == e.PrevHash && (r.anchored || e.Offset == 0):
			// The chain shows that the log up to here is the one read before the gap.
			r.cut(e.Offset)
		case r.image != nil && r.image.At.End == e.Offset && r.image.At.Hash == e.PrevHash:
			r.anchor(r.image.At)
		default:
			return false, nil
		}
		r.bridged()
	}
	if !r.anchored {
		at := Position{End: e.Offset, Hash: e.PrevHash}
		if e.Offset > 0 {
			if r.image == nil || r.image.At.End < e.Offset {
				r.gap, r.gapKnown = true, r.Known()
				return false, nil
			}
			// An entry of another branch, truncated later, can have a lower epoch.
			at.Epoch = min(epochBefore(r.image.Lineage, e.Offset), e.Epoch)
		}
		r.anchor(at)
		r.known = 0
	}
	last := r.log.last()
	if e.Offset != last.End || e.PrevHash != last.Hash || e.Epoch < last.Epoch {
		return false, fmt.Errorf("entry %d of epoch %d after %d of epoch %d: %w", e.Offset, e.Epoch, last.End-1, last.Epoch, errChain)
	}
	if e.Type == EntryVoters {
		v, err := DecodeVoters(e)
		if err != nil {
			return false, err
		}
		r.voters = append(r.voters, v)
	}
	if n := len(r.spans); n == 0 || r.spans[n-1].Epoch != e.Epoch {
		r.spans = append(r.spans, EpochSpan{e.Epoch, e.Offset})
	}
	r.log.append(*e)
	if r.image != nil && e.Offset+1 == r.image.At.End {
		r.atImage = e.Hash // of an entry that may be truncated yet
	}
	return true, nil
}

// Trim forgets committed entries that the caller has taken and that need not stay in memory.
func (r *Rebuilder) Trim(below int64) { r.log.trim(min(below, r.Known()), r.keep) }

// epochBefore is the epoch of the entry before an offset.
func epochBefore(lineage []EpochSpan, offset int64) uint64 {
	for i := len(lineage) - 1; i >= 0; i-- {
		if lineage[i].Start < offset {
			return lineage[i].Epoch
		}
	}
	return 0
}

// Finish ends the replay. mark is the known commit in the last commit's header.
func (r *Rebuilder) Finish(mark int64) (Recovered, error) {
	if r.lost > 1 {
		return Recovered{}, errPromiseLost
	}
	out := Recovered{Promised: r.promised, Peers: r.peers, Boots: r.boots}
	if r.gap {
		r.cut(max(r.gapKnown, r.log.base.End))
		out.NewFault = true
	} else {
		r.known = max(r.known, mark)
	}
	imageEnd := int64(0)
	if r.image != nil {
		imageEnd, out.Image = r.image.At.End, r.image.At
	}
	if r.start < imageEnd && r.log.end() >= imageEnd && r.atImage != r.image.At.Hash {
		return Recovered{}, fmt.Errorf("image at %d is not of this log: %w", imageEnd, errChain)
	}
	if r.log.end() < imageEnd {
		// Without a gap and without entries, all were recycled. Otherwise some are missing.
		out.NewFault = out.NewFault || r.anchored
		out.Anchor = out.NewFault
		known := r.known
		r.anchor(r.image.At)
		r.known = max(known, imageEnd)
	}
	out.Commit = max(r.Known(), imageEnd)
	out.Base, out.Entries, out.Start = r.log.base, r.log.ents, r.start
	if r.hidden && r.fault < 0 {
		out.NewFault = true
	}
	if out.NewFault {
		if r.fault < 0 || r.log.end() < r.fault {
			r.fault = r.log.end()
		}
	}
	if r.fault >= 0 {
		out.Fault = &Fault{From: r.fault}
	}
	out.Voters = append(out.Voters, r.genesis)
	if r.image != nil {
		out.Voters[0] = r.image.Voters
		out.Lineage = slices.Clone(r.image.Lineage)
	}
	for _, v := range r.voters {
		if v.Offset < imageEnd {
			continue
		}
		if v.Offset < out.Commit {
			out.Voters = out.Voters[:0]
		}
		out.Voters = append(out.Voters, v)
	}
	for _, s := range r.spans {
		if s.Start >= imageEnd && (len(out.Lineage) == 0 || out.Lineage[len(out.Lineage)-1].Epoch != s.Epoch) {
			out.Lineage = append(out.Lineage, s)
		}
	}
	return out, nil
}
