package replica

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/chronik-io/chronik/internal/peer"
)

// This file writes what there is to push to a stream.

// push writes what there is to push until the stream ends.
func (s *sender) push(ctx context.Context, stream peer.Stream, x *session) error {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	marks := time.NewTimer(time.Hour)
	defer marks.Stop()
	waiting := false // for marks to be due
	var links []*link
	buf := make([]byte, 0, frameBytes+turnBytes)
	for {
		if s.full(x) {
			if err := stream.Flush(); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-s.wake: // an ack, or more to do
			case <-ping.C:
				if err := stream.WriteFrame(framePing, nil); err != nil {
					return err
				}
			}
			continue
		}
		links = s.takeDirty(links[:0])
		if len(links) == 0 {
			if err := stream.Flush(); err != nil {
				return err
			}
			if !waiting && s.hasMarks() {
				waiting = true
				marks.Reset(markDelay)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-s.wake:
				continue
			case <-marks.C:
				waiting = false
				links = s.takeMarks(links[:0])
			case <-ping.C:
				if err := stream.WriteFrame(framePing, nil); err != nil {
					return err
				}
				continue
			}
		}
		var err error
		if buf, err = s.pushLinks(stream, x, links, buf); err != nil {
			return err
		}
	}
}

func (s *sender) takeDirty(into []*link) []*link {
	s.mu.Lock()
	defer s.mu.Unlock()
	into = append(into, s.dirty...)
	clear(s.dirty)
	s.dirty = s.dirty[:0]
	return into
}

func (s *sender) hasMarks() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.marks) > 0
}

func (s *sender) takeMarks(into []*link) []*link {
	s.mu.Lock()
	defer s.mu.Unlock()
	into = append(into, s.marks...)
	clear(s.marks)
	s.marks = s.marks[:0]
	for _, l := range into {
		l.marked.Store(false)
	}
	return into
}

// pushLinks writes the parts of some replicas, in as few frames as they need.
func (s *sender) pushLinks(stream peer.Stream, x *session, links []*link, buf []byte) ([]byte, error) {
	buf = binary.BigEndian.AppendUint64(buf[:0], s.frame(x))
	for _, l := range links {
		l.queued.Store(false) // before looking: what comes later marks it again
		more := false
		buf, more = l.r.appendPush(buf, l, s, x)
		if more {
			l.mark()
		}
		if len(buf) >= frameBytes {
			s.flies(x, len(buf))
			if err := stream.WriteFrame(framePush, buf); err != nil {
				return buf, err
			}
			buf = binary.BigEndian.AppendUint64(buf[:0], s.frame(x))
		}
	}
	var err error
	if len(buf) > 8 {
		s.flies(x, len(buf))
		err = stream.WriteFrame(framePush, buf)
	}
	if cap(buf) > 4*frameBytes {
		buf = make([]byte, 0, frameBytes+turnBytes)
	}
	return buf, err
}
