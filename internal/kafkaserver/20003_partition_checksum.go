package kafkaserver

import (
	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.Key(chronikapi.PartitionChecksum), private: true}, (*Server).handlePartitionChecksum)
}

// checksumBytes is about how much of a log one request reads: a client that has gone away is noticed between two requests.
const checksumBytes = 32 << 20

// handlePartitionChecksum says what is in this node's own log of a partition, whoever leads it. One checksum is computed at a time, so that
// any number of clients cost no more than one core and one reader of the disk.
func (s *Server) handlePartitionChecksum(r *request, req *chronikapi.PartitionChecksumRequest) kmsg.Response {
	resp := req.ResponseKind().(*chronikapi.PartitionChecksumResponse)
	resp.NodeID = s.deps.NodeID
	fail := func(err error) kmsg.Response {
		resp.ErrorCode, resp.ErrorMessage = errorCode(err), err.Error()
		return resp
	}
	topic := uuid.UUID(req.TopicID)
	t := s.image().TopicByID(topic)
	if t == nil || t.Partition(req.Partition) == nil {
		return fail(kerr.UnknownTopicID)
	}
	if !t.Partition(req.Partition).HasReplica(s.deps.NodeID) {
		return fail(kerr.ReplicaNotAvailable)
	}
	replica := s.deps.Replicas.Get(topic, req.Partition)
	if replica == nil || replica.Log() == nil {
		return fail(kerr.KafkaStorageError) // offline: its log could not be opened
	}
	l := replica.Log()
	resp.Leads, resp.LeaderEpoch = replica.Leads(), replica.LeaderEpoch()
	// The high watermark first: it never lies behind an end that is read later.
	resp.HighWatermark, resp.Durable, resp.End, resp.Start = l.HighWatermark(), l.DurableEnd(), l.End(), l.Start()
	if req.From < 0 {
		return resp
	}
	select {
	case s.summing <- struct{}{}:
		defer func() { <-s.summing }()
	case <-r.ctx.Done():
		return nil
	}
	if at, err := s.checksum(resp, req, l); err != nil {
		replica.ReportCorrupt(at, err)
		return fail(err)
	}
	return resp
}

// checksum fills in the checksum of what was asked for; with an error, at is where the read that failed began.
func (s *Server) checksum(resp *chronikapi.PartitionChecksumResponse, req *chronikapi.PartitionChecksumRequest, l *partition.Log) (at int64, err error) {
	crc, batches, next, err := l.ChecksumSome(uint32(req.CRC), req.From, req.To, checksumBytes)
	if err != nil {
		return next, err
	}
	resp.CRC, resp.Batches, resp.Next = int32(crc), int64(batches), next
	return next, nil
}
