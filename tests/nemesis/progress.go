package nemesis

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Progress notes when a load was acknowledged something. It may be used by all goroutines.
type Progress struct {
	mu        sync.Mutex // guards the rest
	acks      []ack
	forgotten int           // before those
	more      chan struct{} // closed at the next ack
}

type ack struct{ asked, at time.Time }

// NewProgress makes one without acknowledgements.
func NewProgress() *Progress { return &Progress{more: make(chan struct{})} }

// Ack notes an acknowledgement that came now of what was asked at a time.
func (p *Progress) Ack(asked time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acks = append(p.acks, ack{asked, time.Now()})
	close(p.more)
	p.more = make(chan struct{})
}

// Count is how many acknowledgements there were.
func (p *Progress) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.forgotten + len(p.acks)
}

// Forget drops what came before a time, to bound the memory. It is still counted.
func (p *Progress) Forget(before time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.acks) && p.acks[n].at.Before(before) {
		n++
	}
	p.acks, p.forgotten = slices.Clone(p.acks[n:]), p.forgotten+n
}

// AwaitAsked waits for an acknowledgement of something that was asked after a time, and returns when it came.
func (p *Progress) AwaitAsked(ctx context.Context, after time.Time) (time.Time, error) {
	for seen := 0; ; {
		p.mu.Lock()
		for _, a := range p.acks[max(seen-p.forgotten, 0):] {
			if a.asked.After(after) {
				p.mu.Unlock()
				return a.at, nil
			}
		}
		seen = p.forgotten + len(p.acks)
		more := p.more
		p.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("nothing that was asked since %s is acknowledged: %w", time.Since(after).Round(time.Millisecond), ctx.Err())
		}
	}
}

// LongestGap is the longest time without an acknowledgement that lies between two times, also if it goes on at the end.
func (p *Progress) LongestGap(from, to time.Time) time.Duration {
	longest, _ := p.Gap(from, to)
	return longest
}

// Gap is the same, and when it began.
func (p *Progress) Gap(from, to time.Time) (longest time.Duration, began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := from
	note := func(until time.Time) {
		if d := until.Sub(last); d > longest {
			longest, began = d, last
		}
		last = until
	}
	for _, a := range p.acks {
		if a.at.Before(from) || a.at.After(to) {
			continue
		}
		note(a.at)
	}
	note(to)
	return longest, began
}

// Summary is a line with the median and the extremes of durations.
func Summary(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	s := slices.Sorted(slices.Values(all))
	ms := func(d time.Duration) int64 { return d.Milliseconds() }
	return fmt.Sprintf("n %d, min %d, p50 %d, p90 %d, max %d ms", len(s), ms(s[0]), ms(s[len(s)/2]), ms(s[len(s)*9/10]), ms(s[len(s)-1]))
}
