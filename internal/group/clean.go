package group

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// rewriteBytes is about how much of the live state one append of the cleaner holds.
	rewriteBytes = 256 << 10
	// rewriteRetry is how long the cleaner leaves a partition alone after it failed.
	rewriteRetry = 10 * time.Second
)

// needsRewrite tells whether the log holds much more than the live state.
func (m *machine) needsRewrite() bool {
	return !m.rewriting && !m.now.Before(m.rewriteAfter) &&
		(m.grown.bytes > 2*m.live.bytes+m.cfg.CleanBytes || m.grown.records > 2*m.live.records+m.cfg.CleanRecords)
}

// liveRecords is everything that is stored of a group, as it is now.
func (g *group) liveRecords(into []record) []record {
	if g.stored != nil {
		into = append(into, record{groupKey(g.id), g.stored})
	}
	for topic, partitions := range g.offsets {
		for partition, o := range partitions {
			into = append(into, record{offsetKey(g.id, topic, partition), o.encode()})
		}
	}
	return into
}

// rewriteSome appends the live state of groups from the front of ids until it has a batch's worth, and returns the rest. Groups that are
// gone have left nothing to keep: their tombstones are in the part of the log that goes, or behind.
func (m *machine) rewriteSome(ids []string, then func(error)) (rest []string, err error) {
	var records []record
	bytes := 0
	for len(ids) > 0 && bytes < rewriteBytes {
		if g := m.groups[ids[0]]; g != nil {
			before := len(records)
			records = g.liveRecords(records)
			for _, r := range records[before:] {
				bytes += r.size()
			}
		}
		ids = ids[1:]
	}
	if len(records) == 0 {
		m.afterWrite(m.appended, then)
		return ids, nil
	}
	return ids, m.writeAll(records, then)
}

// runCleaner rewrites partitions that have grown, one at a time.
func (c *Coordinator) runCleaner(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.cleanWake:
		}
		for _, s := range c.all() {
			if err := s.clean(); err != nil && ctx.Err() == nil {
				c.cfg.Logger.Warn("cannot clean group partition", "partition", s.partition, "err", err)
			}
		}
	}
}

// clean appends the live state at the end of the log and, when it is durable, moves the log start to where that began. A crash in
// between costs nothing: the log then holds the state twice.
func (s *shard) clean() error {
	t := s.term.Load()
	if t == nil {
		return nil
	}
	ids, from, err := s.beginRewrite(t)
	if err != nil || from < 0 {
		return err
	}
	began, groups := time.Now(), len(ids)
	err = s.rewrite(t, ids, from)
	s.mu.Lock()
	t.m.rewriting = false
	if err != nil {
		t.m.rewriteAfter = time.Now().Add(rewriteRetry)
	}
	s.unlock()
	if err == nil {
		s.c.cfg.Logger.Info("group partition cleaned", "partition", s.partition, "groups", groups, "logStart", from,
			"ms", time.Since(began).Milliseconds())
	}
	return err
}

// beginRewrite names the groups to rewrite, and the offset below which nothing will be needed. It gives -1 if there is nothing to do.
func (s *shard) beginRewrite(t *term) (ids []string, from int64, err error) {
	s.mu.Lock()
	defer s.unlock()
	if s.term.Load() != t || t.m == nil || !t.m.needsRewrite() {
		return nil, -1, nil
	}
	_, end, err := s.c.store.Bounds(s.partition, t.epoch)
	if err != nil {
		t.m.rewriteAfter = time.Now().Add(rewriteRetry)
		return nil, -1, fmt.Errorf("bounds: %w", err)
	}
	t.m.rewriting, t.m.grown = true, size{}
	return slices.Collect(maps.Keys(t.m.groups)), end, nil
}

// rewrite appends in portions, so that requests come in between; each is durable before the next begins.
func (s *shard) rewrite(t *term, ids []string, from int64) error {
	durable := make(chan error, 1)
	for {
		s.mu.Lock()
		var err error
		if s.term.Load() != t {
			err = ErrNotCoordinator
		} else {
			t.m.now = time.Now()
			ids, err = t.m.rewriteSome(ids, func(err error) { durable <- err })
		}
		s.unlock()
		if err != nil {
			return fmt.Errorf("rewrite live state: %w", err)
		}
		select {
		case err = <-durable:
		case <-t.ctx.Done():
			err = ErrNotCoordinator
		}
		if err != nil {
			return fmt.Errorf("rewrite live state: %w", err)
		}
		if len(ids) == 0 {
			break
		}
	}
	if err := s.c.store.AdvanceStart(s.partition, t.epoch, from); err != nil {
		return fmt.Errorf("advance log start to %d: %w", from, err)
	}
	return nil
}
