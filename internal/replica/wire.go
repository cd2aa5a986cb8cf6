package replica

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/peer"
)

// Frames of the streams between a leader's node and a follower's. A number is big endian; lengths are in bytes.
//
//	leader to follower
//	  push    sequence 8, then for each partition a part: head of pushHead, batches
//	  ping
//	follower to leader
//	  ack     sequence 8: all parts of frames up to it are durable as accepted, or were refused before
//	  refuse  sequence 8, partition 20, flags 1 (1: not ready, 2: damaged), last epoch 4, end 8, log end 8
//	  ready   leader epoch 4, partition 20, flags 1 (2: damaged), last epoch 4, end 8, log end 8
const (
	framePush   = peer.FrameOther + iota // 48
	framePing                            // 49
	frameAck                             // 50
	frameRefuse                          // 51
	frameReady                           // 52
)

const (
	partitionBytes = 16 + 4
	// pushHead is {length of the batches 4, partition 20, leader epoch 4, previous epoch 4, base 8, high watermark 8, log start 8, flags 1}.
	pushHead   = 4 + partitionBytes + 4 + 4 + 8 + 8 + 8 + 1
	refuseSize = 8 + partitionBytes + 1 + 4 + 8 + 8
	readySize  = 4 + partitionBytes + 1 + 4 + 8 + 8

	flagReset    = 1
	flagNotReady = 1
	flagFaulty   = 2
)

var errFrame = errors.New("malformed replication frame")

func putPartition(b []byte, id partition.ID) {
	copy(b, id.Topic[:])
	binary.BigEndian.PutUint32(b[16:], uint32(id.Partition))
}

func getPartition(b []byte) (id partition.ID) {
	copy(id.Topic[:], b)
	id.Partition = int32(binary.BigEndian.Uint32(b[16:]))
	return id
}

// putPushHead writes the head of a part whose batches are the n bytes behind it.
func putPushHead(b []byte, id partition.ID, p *Push, n int) {
	binary.BigEndian.PutUint32(b, uint32(n))
	putPartition(b[4:], id)
	b = b[4+partitionBytes:]
	binary.BigEndian.PutUint32(b, uint32(p.LeaderEpoch))
	binary.BigEndian.PutUint32(b[4:], uint32(p.PrevEpoch))
	binary.BigEndian.PutUint64(b[8:], uint64(p.Base))
	binary.BigEndian.PutUint64(b[16:], uint64(p.HighWatermark))
	binary.BigEndian.PutUint64(b[24:], uint64(p.LogStart))
	b[32] = 0
	if p.Reset {
		b[32] = flagReset
	}
}

// nextPart reads the first part of what is left of a push frame.
func nextPart(b []byte) (id partition.ID, p Push, batches, rest []byte, err error) {
	if len(b) < pushHead {
		return id, p, nil, nil, fmt.Errorf("read push of %d bytes: %w", len(b), errFrame)
	}
	n := int64(binary.BigEndian.Uint32(b))
	id = getPartition(b[4:])
	h := b[4+partitionBytes:]
	p = Push{LeaderEpoch: int32(binary.BigEndian.Uint32(h)), PrevEpoch: int32(binary.BigEndian.Uint32(h[4:])), Base: int64(binary.BigEndian.Uint64(h[8:])),
		HighWatermark: int64(binary.BigEndian.Uint64(h[16:])), LogStart: int64(binary.BigEndian.Uint64(h[24:])), Reset: h[32]&flagReset != 0}
	if n > int64(len(b)-pushHead) || p.Base < 0 || p.LogStart < 0 {
		return id, p, nil, nil, fmt.Errorf("read push of %s at %d, %d bytes: %w", id, p.Base, n, errFrame)
	}
	return id, p, b[pushHead : pushHead+n], b[pushHead+n:], nil
}

func (r *Refusal) put(b []byte) {
	if r.NotReady {
		b[0] |= flagNotReady
	}
	if r.Faulty {
		b[0] |= flagFaulty
	}
	binary.BigEndian.PutUint32(b[1:], uint32(r.LastEpoch))
	binary.BigEndian.PutUint64(b[5:], uint64(r.End))
	binary.BigEndian.PutUint64(b[13:], uint64(r.LogEnd))
}

func getRefusal(b []byte) Refusal {
	return Refusal{NotReady: b[0]&flagNotReady != 0, Faulty: b[0]&flagFaulty != 0, LastEpoch: int32(binary.BigEndian.Uint32(b[1:])),
		End: int64(binary.BigEndian.Uint64(b[5:])), LogEnd: int64(binary.BigEndian.Uint64(b[13:]))}
}

// refuseFrame is the payload of a refusal of frame seq.
func refuseFrame(b []byte, seq uint64, id partition.ID, r *Refusal) []byte {
	b = append(b[:0], make([]byte, refuseSize)...)
	binary.BigEndian.PutUint64(b, seq)
	putPartition(b[8:], id)
	r.put(b[28:])
	return b
}

func readRefuse(b []byte) (seq uint64, id partition.ID, r Refusal, err error) {
	if len(b) != refuseSize {
		return 0, id, r, fmt.Errorf("read refusal of %d bytes: %w", len(b), errFrame)
	}
	return binary.BigEndian.Uint64(b), getPartition(b[8:]), getRefusal(b[28:]), nil
}

// readyFrame is the payload that tells a leader that its follower's metadata shows it.
func readyFrame(b []byte, epoch int32, id partition.ID, r *Refusal) []byte {
	b = append(b[:0], make([]byte, readySize)...)
	binary.BigEndian.PutUint32(b, uint32(epoch))
	putPartition(b[4:], id)
	r.put(b[24:])
	return b
}

func readReady(b []byte) (epoch int32, id partition.ID, r Refusal, err error) {
	if len(b) != readySize {
		return 0, id, r, fmt.Errorf("read ready of %d bytes: %w", len(b), errFrame)
	}
	return int32(binary.BigEndian.Uint32(b)), getPartition(b[4:]), getRefusal(b[24:]), nil
}
