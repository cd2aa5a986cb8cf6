package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/peer"
)

// receiver is this node's end of a stream on which another node pushes what it leads.
type receiver struct {
	set    *Set
	stream peer.Stream
	node   int32
	wake   chan struct{} // bound 1

	mu       sync.Mutex // guards the rest; after Replica.mu in the lock order
	queue    AckQueue
	pinged   bool
	refusals []refusalOf
	readies  []*Replica
}

type refusalOf struct {
	seq uint64
	id  partition.ID
	r   Refusal
}

// Serve takes what another node pushes, until its stream ends. It is a peer.StreamHandler.
func (s *Set) Serve(ctx context.Context, stream peer.Stream) {
	v := &receiver{set: s, stream: stream, node: stream.Peer().Member.NodeID, wake: make(chan struct{}, 1)}
	s.addReceiver(v)
	defer s.removeReceiver(v)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := v.answer(ctx); err != nil {
			cancel()
		}
	}()
	err := v.read(ctx)
	cancel()
	<-done
	s.log.Debug("replication stream from another node ended", "node", v.node, "err", err)
	if errors.Is(err, ErrDiverged) {
		s.o.Fatal(err)
	}
}

func (v *receiver) read(ctx context.Context) error {
	var buf []byte
	for {
		if err := v.stream.SetDeadline(time.Now().Add(streamSilence)); err != nil {
			return err
		}
		t, payload, err := v.stream.ReadFrame(buf[:0])
		if err != nil {
			return err
		}
		buf = payload
		switch t {
		case framePush:
			if err := v.take(ctx, payload); err != nil {
				return err
			}
		case framePing:
			v.mu.Lock()
			v.pinged = true
			v.mu.Unlock()
			poke(v.wake)
		default:
			return fmt.Errorf("frame of type %d: %w", t, errFrame)
		}
		if cap(buf) > 4*frameBytes {
			buf = nil
		}
	}
}

// take takes a push frame, part by part.
func (v *receiver) take(ctx context.Context, b []byte) error {
	if len(b) < 8 {
		return fmt.Errorf("read push of %d bytes: %w", len(b), errFrame)
	}
	seq, b := binary.BigEndian.Uint64(b), b[8:]
	v.mu.Lock()
	if seq <= v.queue.Last() {
		v.mu.Unlock()
		return fmt.Errorf("frame %d after %d: %w", seq, v.queue.Last(), errFrame)
	}
	v.queue.Begin(seq)
	v.mu.Unlock()
	nowMs := v.set.o.Now().UnixMilli()
	peer := v.stream.Peer()
	for len(b) > 0 {
		id, p, batches, rest, err := nextPart(b)
		if err != nil {
			return err
		}
		b = rest
		p.Leader, p.LeaderNonce = peer.Member.NodeID, peer.Nonce
		refusal, err := v.set.receive(ctx, id, &p, batches, nowMs)
		if err != nil {
			return fmt.Errorf("partition %s: %w", id, err)
		}
		if refusal != nil {
			v.refuse(seq, id, *refusal)
			if r := v.set.Get(id.Topic, id.Partition); refusal.NotReady && r != nil {
				v.offer(r) // it may have become ready, and said so, before the refusal was there: the leader would wait for ever
			}
		}
	}
	v.mu.Lock()
	v.queue.Received(v.set.o.Store.LastSeq())
	v.mu.Unlock()
	v.set.wakes.flush()
	poke(v.wake)
	return nil
}

// receive gives a part to its replica.
func (s *Set) receive(ctx context.Context, id partition.ID, p *Push, batches []byte, nowMs int64) (*Refusal, error) {
	r := s.Get(id.Topic, id.Partition)
	if r == nil || r.log == nil || !s.serving() {
		return &Refusal{NotReady: true}, nil
	}
	return r.receive(ctx, p, batches, nowMs)
}

func (v *receiver) refuse(seq uint64, id partition.ID, r Refusal) {
	v.mu.Lock()
	v.refusals = append(v.refusals, refusalOf{seq, id, r})
	v.mu.Unlock()
}

// void refuses all that was taken of a partition and not acked: its leader epoch is over (R2).
func (v *receiver) void(id partition.ID) {
	v.mu.Lock()
	if v.queue.Last() > 0 {
		v.refusals = append(v.refusals, refusalOf{v.queue.Last(), id, Refusal{NotReady: true}})
	}
	v.mu.Unlock()
	poke(v.wake)
}

// offer tells the node that its process leads a replica that may be pushed to, if that is so.
func (v *receiver) offer(r *Replica) {
	if _, _, ok := v.readiness(r); !ok {
		return
	}
	v.mu.Lock()
	v.readies = append(v.readies, r)
	v.mu.Unlock()
	poke(v.wake)
}

func (v *receiver) readiness(r *Replica) (epoch int32, ref Refusal, ok bool) {
	if r.log == nil || !v.set.serving() {
		return 0, ref, false
	}
	peer := v.stream.Peer()
	return r.readiness(peer.Member.NodeID, peer.Nonce)
}

// answer writes refusals, then the acks that they come before, then readiness, which is looked at last: with an end from before what is
// acked, the follower would seem to have lost that (R8).
func (v *receiver) answer(ctx context.Context) error {
	var refusals []refusalOf
	var readies []*Replica
	var buf, ack []byte
	acked := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-v.wake:
		}
		v.mu.Lock()
		upTo, ok := v.queue.Durable(v.set.o.Store.DurableSeq())
		ok = ok || v.pinged
		acked = max(acked, upTo)
		refusals, v.refusals = v.refusals, refusals[:0]
		readies, v.readies = v.readies, readies[:0]
		v.pinged = false
		v.mu.Unlock()
		for i := range refusals {
			buf = refuseFrame(buf, refusals[i].seq, refusals[i].id, &refusals[i].r)
			if err := v.stream.WriteFrame(frameRefuse, buf); err != nil {
				return err
			}
		}
		if ok {
			ack = binary.BigEndian.AppendUint64(ack[:0], acked)
			if err := v.stream.WriteFrame(frameAck, ack); err != nil {
				return err
			}
		}
		for _, r := range readies {
			epoch, ref, ok := v.readiness(r)
			if !ok {
				continue // the next view's is offered
			}
			buf = readyFrame(buf, epoch, r.id, &ref)
			if err := v.stream.WriteFrame(frameReady, buf); err != nil {
				return err
			}
		}
		if err := v.stream.Flush(); err != nil {
			return err
		}
	}
}
