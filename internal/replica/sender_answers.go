package replica

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/peer"
)

// This file takes in what a follower answers on a stream.

type ackedPart struct {
	r     *Replica
	epoch int32
	end   int64
}

// readAnswers takes acks, refusals and readiness off the stream.
func (s *sender) readAnswers(stream peer.Stream, x *session) error {
	var buf []byte
	var parts []ackedPart
	for {
		if err := stream.SetDeadline(time.Now().Add(answerSilence)); err != nil {
			return err
		}
		t, payload, err := stream.ReadFrame(buf[:0])
		if err != nil {
			return err
		}
		buf = payload
		nowMs := s.set.nowMs()
		s.heardMs.Store(nowMs)
		switch t {
		case frameAck:
			if len(payload) != 8 {
				return fmt.Errorf("read ack of %d bytes: %w", len(payload), errFrame)
			}
			if parts, err = s.acked(x, binary.BigEndian.Uint64(payload), parts[:0], nowMs); err != nil {
				return err
			}
		case frameRefuse:
			seq, id, r, err := readRefuse(payload)
			if err != nil {
				return err
			}
			s.refused(x, seq, id, r, nowMs)
		case frameReady:
			epoch, id, r, err := readReady(payload)
			if err != nil {
				return err
			}
			s.ready(x, epoch, id, r, nowMs)
		default:
			return fmt.Errorf("frame of type %d: %w", t, errFrame)
		}
	}
}

// acked takes in that all frames up to upTo are durable at the follower.
func (s *sender) acked(x *session, upTo uint64, parts []ackedPart, nowMs int64) ([]ackedPart, error) {
	s.mu.Lock()
	ok := x.window.Acked(upTo, func(r *Replica, epoch int32, end int64) {
		if n := len(parts); n > 0 && parts[n-1].r == r && parts[n-1].epoch == epoch {
			parts[n-1].end = end // cumulative
			return
		}
		parts = append(parts, ackedPart{r, epoch, end})
	})
	x.landed(upTo)
	s.mu.Unlock()
	if s.class == peer.ClassCatchUp {
		poke(s.wake)
	}
	if !ok {
		return parts, fmt.Errorf("ack of frame %d, which was not sent: %w", upTo, errFrame)
	}
	for _, p := range parts {
		p.r.followerAcked(s.node, x, upTo, p.epoch, p.end, nowMs)
	}
	if len(parts) > 0 {
		s.set.committed()
	}
	clear(parts)
	return parts, nil
}

func (s *sender) refused(x *session, seq uint64, id partition.ID, r Refusal, nowMs int64) {
	p := s.set.Get(id.Topic, id.Partition)
	if p == nil {
		return
	}
	s.mu.Lock()
	x.window.Refused(seq, p) // also when the follower is pushed to over the other stream by now: the ack of the frame comes over this one
	s.mu.Unlock()
	p.answered(s, x, func(c *LeaderCore, current uint64) { c.Refused(s.node, x.brokerEpoch, seq, r, current, nowMs) })
}

func (s *sender) ready(x *session, epoch int32, id partition.ID, r Refusal, nowMs int64) {
	p := s.set.Get(id.Topic, id.Partition)
	if p == nil {
		return
	}
	p.answered(s, x, func(c *LeaderCore, current uint64) { c.Ready(s.node, x.brokerEpoch, epoch, r, current, nowMs) })
}
