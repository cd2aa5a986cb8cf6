package kafkaserver

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/replica"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// respond writes the response: directly when all went well, by kmsg when there are errors to tell.
func (p *produceCall) respond() *buffer {
	for i := range p.parts {
		if p.parts[i].err != nil || p.parts[i].superseded {
			return p.respondErrors()
		}
	}
	p.topics = slices.DeleteFunc(p.topics, func(t produceTopic) bool { return t.from == t.to }) // as Kafka
	size := 32
	for i := range p.topics {
		size += 32 + len(p.topics[i].label)
	}
	buf := getBuffer(size + 48*len(p.parts))
	flex := p.version >= produceFlexible
	b := appendResponseHeader(buf.b, p.corrID, flex)
	b = appendCount(b, len(p.topics), flex)
	for i := range p.topics {
		t := &p.topics[i]
		if p.version >= produceTopicIDs {
			b = append(b, t.id[:]...)
		} else {
			b = appendString(b, t.label, flex)
		}
		b = appendCount(b, t.to-t.from, flex)
		for k := t.from; k < t.to; k++ {
			b = p.appendPart(b, &p.parts[k], flex)
		}
		if flex {
			b = append(b, 0)
		}
	}
	b = binary.BigEndian.AppendUint32(b, 0) // throttle time
	if flex {
		b = append(b, 0)
	}
	buf.b = finishFrame(b)
	return buf
}

// appendPart writes a partition that has no error.
func (p *produceCall) appendPart(b []byte, part *producePart, flex bool) []byte {
	be := binary.BigEndian
	b = be.AppendUint32(b, uint32(part.index))
	b = be.AppendUint16(b, 0)
	b = be.AppendUint64(b, uint64(part.baseOffset))
	b = be.AppendUint64(b, uint64(part.timeMs))
	if p.version >= 5 {
		b = be.AppendUint64(b, uint64(part.startO))
	}
	switch {
	case flex: // no record errors, no message, no tags
		b = append(b, 1, 0, 0)
	case p.version >= 8:
		b = append(b, 0, 0, 0, 0, 0xff, 0xff)
	}
	return b
}

// respondErrors writes a response with errors.
func (p *produceCall) respondErrors() *buffer {
	resp := kmsg.NewPtrProduceResponse()
	leaders := map[int32]bool{}
	for i := range p.topics {
		t := &p.topics[i]
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.label, t.id
		for k := t.from; k < t.to; k++ {
			if !p.parts[k].superseded {
				rt.Partitions = append(rt.Partitions, p.kmsgPart(t.id, &p.parts[k], leaders))
			}
		}
		if len(rt.Partitions) > 0 {
			resp.Topics = append(resp.Topics, rt)
		}
	}
	if p.version >= 10 {
		for id := range leaders {
			if e, ok := p.s.nodeEndpoint(id); ok {
				resp.Brokers = append(resp.Brokers, kmsg.ProduceResponseBroker{NodeID: e.id, Host: e.host, Port: e.port, Rack: e.rack})
			}
		}
	}
	r := request{version: p.version, corrID: p.corrID, key: int16(kmsg.Produce)}
	return encode(apis[kmsg.Produce], &r, resp)
}

// kmsgPart is one partition of a response with errors. leaders collects whom the client should be told about (KIP-951).
func (p *produceCall) kmsgPart(topic uuid.UUID, part *producePart, leaders map[int32]bool) kmsg.ProduceResponseTopicPartition {
	rp := kmsg.NewProduceResponseTopicPartition()
	rp.Partition, rp.ErrorCode, rp.BaseOffset = part.index, part.code, part.baseOffset
	rp.LogAppendTime, rp.LogStartOffset = part.timeMs, part.startO
	var records *recordbatch.RecordsError
	if errors.As(part.err, &records) {
		rp.ErrorMessage = errorText(part.err)
		for _, e := range records.Records {
			re := kmsg.NewProduceResponseTopicPartitionErrorRecord()
			re.RelativeOffset, re.ErrorMessage = e.Index, errorText(e.Err)
			rp.ErrorRecords = append(rp.ErrorRecords, re)
		}
	}
	if errors.Is(part.err, recordbatch.ErrMagic) || !errorKnown(part.err) {
		rp.ErrorMessage = errorText(part.err)
	}
	if part.code == kerr.NotLeaderForPartition.Code && p.version >= 10 {
		if leader, epoch, known := p.s.currentLeader(topic, part.index); known {
			rp.CurrentLeader.LeaderID, rp.CurrentLeader.LeaderEpoch = leader, epoch
			leaders[leader] = true
		}
	}
	return rp
}

// unsettled reports whether a partition was refused because this node does not lead it, and who does is about to be known.
func (p *produceCall) unsettled() bool {
	if !p.s.forwards() {
		return false
	}
	for i := range p.topics {
		t := &p.topics[i]
		for k := t.from; k < t.to; k++ {
			if p.parts[k].code == kerr.NotLeaderForPartition.Code && p.s.leaderOpen(t.id, p.parts[k].index) {
				return true
			}
		}
	}
	return false
}

// awaitLeaders holds a response back until it can say who leads, for at most suspectWait. A client that is told only that this node does
// not lead asks for the metadata, gets what is known at that time, and asks again no sooner than after its minimum age of metadata.
func (p *produceCall) awaitLeaders() {
	s := p.s
	for deadline := time.Now().Add(suspectWait); p.unsettled() && time.Now().Before(deadline) && p.conn.ctx.Err() == nil; {
		look, cancel := context.WithTimeout(p.conn.ctx, suspectLook)
		_ = s.deps.Meta.WaitApplied(look, s.image().Offset()+1) // the next image, or another look
		cancel()
	}
}

func init() {
	mapErrors(
		errorMapping{replica.ErrNotLeader, kerr.NotLeaderForPartition},
		errorMapping{replica.ErrFencedLeaderEpoch, kerr.FencedLeaderEpoch},
		errorMapping{replica.ErrUnknownLeaderEpoch, kerr.UnknownLeaderEpoch},
		errorMapping{replica.ErrNotEnoughReplicas, kerr.NotEnoughReplicas},
		errorMapping{replica.ErrNotEnoughReplicasAfterAppend, kerr.NotEnoughReplicasAfterAppend},
		errorMapping{replica.ErrTimeout, kerr.RequestTimedOut},
		errorMapping{replica.ErrOffline, kerr.KafkaStorageError},
		errorMapping{replica.ErrHighWatermarkUnknown, kerr.OffsetNotAvailable},
		errorMapping{replica.ErrDiverged, kerr.KafkaStorageError},
	)
}

// appendCount writes an array's length.
func appendCount(b []byte, n int, flex bool) []byte {
	if flex {
		return appendUvarint(b, uint32(n+1))
	}
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

// appendString writes a string.
func appendString(b []byte, s string, flex bool) []byte {
	if flex {
		b = appendUvarint(b, uint32(len(s)+1))
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	}
	return append(b, s...)
}

func appendUvarint(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}
