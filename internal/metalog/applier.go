package metalog

import (
	"fmt"

	"github.com/chronik-io/chronik/internal/metadata"
)

type roleChange uint8

const (
	roleSame roleChange = iota
	roleBegan
	roleEnded
)

// applyItem is something for the applier to do: entries to apply, an image prepared by the owner, an image that was installed, a change
// of the role, an image to save. The proposal is answered after it.
type applyItem struct {
	from, end  int64
	entries    []Entry
	old, image *metadata.Image
	delta      *metadata.Delta
	install    *ImageFile
	role       roleChange
	epoch      uint64
	save       *ImageMeta
	p          *proposal
}

// applier is the goroutine that moves the image and runs the subscribers.
type applier struct {
	l     *Log
	items chan applyItem // bound 1024: the owner waits
}

func newApplier(l *Log) *applier { return &applier{l: l, items: make(chan applyItem, 1024)} }

func (a *applier) run() {
	for {
		select {
		case it := <-a.items:
			if err := a.apply(it); err != nil {
				it.p.finish(0, fmt.Errorf("%w: %w", ErrUnknownOutcome, err))
				a.l.halt(fmt.Errorf("%w: %w", ErrHalted, err))
				a.end()
				return
			}
		case <-a.l.quit:
			a.end()
			return
		}
	}
}

// end answers what is left, none of which anybody may count on.
func (a *applier) end() {
	for {
		select {
		case it := <-a.items:
			it.p.finish(0, fmt.Errorf("%w: %w", ErrUnknownOutcome, ErrClosed))
		default:
			return
		}
	}
}

func (a *applier) apply(it applyItem) error {
	l := a.l
	switch {
	case it.entries != nil:
		if _, err := applyEntries(l.image.Load(), it.entries, a.changed); err != nil {
			return err
		}
	case it.image != nil:
		if l.image.Load() != it.old {
			return fmt.Errorf("apply entries %d to %d: I12: the image is at %d", it.from, it.end-1, l.image.Load().Offset())
		}
		a.changed(it.old, it.image, it.delta)
	case it.install != nil:
		im, err := it.install.image()
		if err != nil {
			return err
		}
		a.changed(l.image.Load(), im, deltaBetween(l.image.Load(), im))
	}
	if it.role != roleSame {
		for _, fn := range l.roleSubs {
			fn(it.role == roleBegan, it.epoch)
		}
	}
	if it.save != nil {
		a.save(*it.save)
	}
	if it.end > 0 {
		l.applied.set(it.end)
		l.owner.again()
	}
	it.p.finish(it.end-1, nil)
	return nil
}

func (a *applier) changed(old, cur *metadata.Image, d *metadata.Delta) {
	a.l.image.Store(cur)
	for _, fn := range a.l.subscribers {
		fn(old, cur, d)
	}
}
