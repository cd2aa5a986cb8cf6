package wal

// bugs are seeded mistakes that tests switch on, to prove that the crash tests find them. All are off outside tests.
type bugs struct {
	skipRewrite  bool // Open does not rewrite the last commit
	noSalt       bool // every generation has the same salt
	earlyNext    bool // a commit is written before the one before it is synced
	ackUnsynced  bool // durable is reported before the sync
	noNextHeader bool // the Roll is written before the next slot's header is synced
	noCut        bool // the remains of a torn commit are not zeroed
}

// salt returns the salt of a new generation.
func (b bugs) salt() uint64 {
	if b.noSalt {
		return 1
	}
	return newSalt()
}

// writeAhead writes the waiting commit too early.
func (w *WAL) writeAhead() {
	w.mu.Lock()
	if len(w.queue) == 0 && w.open != nil {
		w.sealOpen()
	}
	var c *commit
	if len(w.queue) > 0 {
		c = w.queue[0]
	}
	w.mu.Unlock()
	if c != nil && c.next == nil {
		_, _ = c.slot.f.WriteAt(w.finish(c), c.pos)
	}
}
