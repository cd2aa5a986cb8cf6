package metalog

import (
	"errors"
	"testing"
)

// step is one thing that a replay meets.
type step struct {
	frame Frame
	gap   uint64 // commits missing, instead of a frame
}

func entriesOf(known int64, entries ...Entry) []step {
	var out []step
	for _, e := range entries {
		out = append(out, step{frame: Frame{Kind: FrameEntry, Known: known, Entry: e}})
	}
	return out
}

func TestRebuild(t *testing.T) {
	one := chainOf(Position{}, 1, 1, 1, 1, 1, 1)            // offsets 0 to 5, epoch 1
	branch := chainOf(Position{2, 1, one[1].Hash}, 2, 2, 2) // from 2 on in epoch 2
	promise := step{frame: Frame{Kind: FramePromise, Ballot: ballotN(4, 1)}}
	truncate := func(to int64) step { return step{frame: Frame{Kind: FrameTruncate, Offset: to}} }
	fault := step{frame: Frame{Kind: FrameFault, Offset: 2}}
	cleared := step{frame: Frame{Kind: FrameClear}}
	gap := func(n uint64) step { return step{gap: n} }
	imageAt := func(e Entry) *ImageMeta {
		return &ImageMeta{At: Position{e.Offset + 1, e.Epoch, e.Hash}, Lineage: []EpochSpan{{1, 0}}, Voters: VoterSet{Offset: -1, Members: []Member{memberN(1)}}}
	}
	join := func(parts ...[]step) []step {
		var all []step
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	tests := []struct {
		name        string
		steps       []step
		image       *ImageMeta
		staged      *ImageMeta
		mark        int64
		end, commit int64
		epoch       uint64
		fault       bool
		newFault    bool
		err         error
	}{
		{name: "nothing"},
		{name: "entries, commit from the mark", steps: entriesOf(1, one...), mark: 4, end: 6, commit: 4, epoch: 1},
		{name: "a mark above the end", steps: entriesOf(1, one[:2]...), mark: 4, end: 2, commit: 2, epoch: 1},
		{name: "truncation and another branch", steps: join(entriesOf(1, one...), []step{truncate(2)}, entriesOf(2, branch...)), mark: 3, end: 5, commit: 3, epoch: 2},
		{name: "an entry that does not follow", steps: entriesOf(0, one[0], one[2]), err: errChain},
		{name: "damage to a copy of a promise only", steps: join(entriesOf(2, one[:3]...), []step{promise, gap(1)}, entriesOf(2, one[3:]...)), mark: 2, end: 6, commit: 2, epoch: 1},
		{name: "damage to entries", steps: join(entriesOf(2, one[:3]...), []step{promise, gap(1)}, entriesOf(2, one[5])), mark: 5, end: 2, commit: 2, epoch: 1, fault: true, newFault: true},
		{name: "damage at the end", steps: join(entriesOf(2, one[:4]...), []step{promise, gap(1)}), mark: 4, end: 2, commit: 2, epoch: 1, fault: true, newFault: true},
		{name: "damage that was marked before", steps: join(entriesOf(2, one[:3]...), []step{gap(1)}, entriesOf(2, one[5]), []step{fault, promise, truncate(2)}, entriesOf(2, branch...)), mark: 2, end: 5, commit: 2, epoch: 2, fault: true},
		{name: "damage that was repaired", steps: join(entriesOf(2, one[:3]...), []step{gap(1)}, entriesOf(2, one[5]), []step{fault, promise, truncate(2)}, entriesOf(2, branch...), []step{cleared}), mark: 3, end: 5, commit: 3, epoch: 2},
		{name: "the mark itself may be damaged", steps: join(entriesOf(2, one[:3]...), []step{gap(1)}, entriesOf(2, one[5]), []step{promise, gap(1)}, entriesOf(2, branch...)), mark: 2, end: 5, commit: 2, epoch: 2, fault: true, newFault: true},
		{name: "a promise may be lost", steps: join(entriesOf(2, one[:3]...), []step{promise, gap(2)}, entriesOf(2, one[3:]...)), err: errPromiseLost},
		{name: "two losses with a promise between", steps: join(entriesOf(2, one[:3]...), []step{gap(1), promise, gap(1)}, entriesOf(2, one[3:]...), []step{promise}), mark: 2, end: 6, commit: 2, epoch: 1, fault: true, newFault: true},
		{name: "a log that begins above 0 needs an image", steps: join(entriesOf(2, one[3:]...), []step{promise}), mark: 5, fault: true, newFault: true},
		{name: "recycled up to an image", steps: entriesOf(4, one[2:]...), image: imageAt(one[3]), mark: 5, end: 6, commit: 5, epoch: 1},
		{name: "an image and nothing else", image: imageAt(one[3]), end: 4, commit: 4, epoch: 1},
		{name: "damage below an image", steps: join([]step{gap(1), promise}, entriesOf(4, one[4:]...)), image: imageAt(one[3]), mark: 5, end: 6, commit: 5, epoch: 1},
		{name: "an image of another log", steps: entriesOf(2, one[:3]...), image: imageAt(branch[0]), err: errChain},
		{name: "a stale branch at the start of a recycled log", steps: join(entriesOf(2, one[3:]...), []step{truncate(2)}, entriesOf(2, branch...)), image: imageAt(branch[1]), mark: 5, end: 5, commit: 5, epoch: 2},
		{name: "an image that was installed", steps: join(entriesOf(1, one[:2]...), []step{promise, {frame: Frame{Kind: FrameReset, At: imageAt(branch[0]).At}}}, entriesOf(3, branch[1:]...)), staged: imageAt(branch[0]), mark: 4, end: 5, commit: 4, epoch: 2},
		{name: "an image that was only stored", steps: entriesOf(1, one[:2]...), staged: imageAt(branch[0]), mark: 1, end: 2, commit: 1, epoch: 1},
		{name: "an installed image that is gone", steps: join(entriesOf(1, one[:2]...), []step{{frame: Frame{Kind: FrameReset, At: imageAt(branch[0]).At}}}), err: errImageLost},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := NewRebuilder([]Member{memberN(1)}, tt.image, tt.staged, 0)
			var err error
			for _, s := range tt.steps {
				if s.gap > 0 {
					r.Gap(s.gap)
				} else if _, err = r.Frame(&s.frame); err != nil {
					break
				}
				r.Trim(r.Known())
			}
			var got Recovered
			if err == nil {
				got, err = r.Finish(tt.mark)
			}
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			c := NewCore(CoreConfig{Self: memberN(1), Boot: 1, Nonce: 1}, got)
			if c.End() != tt.end || c.Commit() != tt.commit || c.LastEpoch() != tt.epoch || c.Faulty() != tt.fault || got.NewFault != tt.newFault {
				t.Fatalf("end %d commit %d epoch %d fault %v new %v; want %d %d %d %v %v", c.End(), c.Commit(), c.LastEpoch(), c.Faulty(), got.NewFault,
					tt.end, tt.commit, tt.epoch, tt.fault, tt.newFault)
			}
		})
	}
}
