package kafkaserver

import (
	"fmt"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/replica"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.ListOffsets, min: 1, max: 11, maxBytes: 4 << 20}, (*Server).handleListOffsets)
}

// Times that are no times, and the first version of ListOffsets that knows each.
const (
	latestOffset          = -1
	earliestOffset        = -2
	maxTimestampOffset    = -3 // v7
	earliestLocalOffset   = -4 // v8
	latestTieredOffset    = -5 // v9
	earliestPendingOffset = -6 // v11: the first offset not yet in tiered storage
)

var specialTimesSince = map[int64]int16{latestOffset: 0, earliestOffset: 0, maxTimestampOffset: 7, earliestLocalOffset: 8,
	latestTieredOffset: 9, earliestPendingOffset: 11}

// handleListOffsets finds offsets by time.
func (s *Server) handleListOffsets(r *request, req *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := kmsg.NewPtrListOffsetsResponse()
	twice := duplicatePartitions(req)
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = t.Topic
		for k := range t.Partitions {
			q := &t.Partitions[k]
			rp := kmsg.NewListOffsetsResponseTopicPartition()
			rp.Partition, rp.Timestamp, rp.Offset, rp.LeaderEpoch = q.Partition, -1, -1, -1
			key := partKey{name: t.Topic, index: q.Partition}
			if n, ok := twice[key]; ok {
				if n == 0 {
					continue // answered already
				}
				twice[key] = 0
				rp.ErrorCode = kerr.InvalidRequest.Code
			} else if found, err := s.offsetFor(r.version, t.Topic, q, req.ReplicaID); err != nil {
				rp.ErrorCode = s.partitionError(err, "list offsets", t.Topic, q.Partition)
			} else {
				rp.Offset, rp.Timestamp, rp.LeaderEpoch = found.Offset, found.TimestampMs, found.LeaderEpoch
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// duplicatePartitions are the partitions that a request names more than once.
func duplicatePartitions(req *kmsg.ListOffsetsRequest) map[partKey]int {
	seen := map[partKey]int{}
	for i := range req.Topics {
		for k := range req.Topics[i].Partitions {
			seen[partKey{name: req.Topics[i].Topic, index: req.Topics[i].Partitions[k].Partition}]++
		}
	}
	for k, n := range seen {
		if n == 1 {
			delete(seen, k)
		}
	}
	return seen
}

// offsetFor answers for one partition.
func (s *Server) offsetFor(version int16, topic string, q *kmsg.ListOffsetsRequestTopicPartition, replicaID int32) (partition.TimeOffset, error) {
	none := partition.TimeOffset{Offset: -1, TimestampMs: -1, LeaderEpoch: -1}
	if topic == metadata.MetadataTopic && q.Partition == 0 {
		return s.metadataOffsetFor(version, q.Timestamp)
	}
	rep, err := s.leaderOf(topic, q.Partition, q.CurrentLeaderEpoch)
	if err != nil {
		return none, err
	}
	if replicaID >= 0 {
		return none, replica.ErrNotLeader
	}
	if q.Timestamp < 0 {
		if since, ok := specialTimesSince[q.Timestamp]; !ok || version < since {
			return none, kerr.UnsupportedVersion
		}
	}
	log := rep.Log()
	switch q.Timestamp {
	case latestOffset:
		if err := checkHighWatermark(rep, version); err != nil {
			return none, err
		}
		none.Offset, none.LeaderEpoch = rep.LastStableOffset(), rep.LeaderEpoch()
		return none, nil
	case earliestOffset, earliestLocalOffset:
		none.Offset = log.Start()
		none.LeaderEpoch = epochAt(log, none.Offset)
		return none, nil
	case latestTieredOffset, earliestPendingOffset:
		return none, nil // there is no tiered storage
	}
	var found partition.TimeOffset
	if q.Timestamp == maxTimestampOffset {
		found, err = log.MaxTimestamp()
	} else {
		found, err = log.OffsetForTime(q.Timestamp)
	}
	switch {
	case err != nil:
		return none, err
	case found.Offset >= 0 && found.Offset < rep.LastStableOffset():
		return found, nil
	}
	return none, checkHighWatermark(rep, version)
}

// listOffsetsNotAvailable is the first version whose clients know OFFSET_NOT_AVAILABLE.
const listOffsetsNotAvailable = 5

// checkHighWatermark is nil if what lies above the high watermark is not committed; a new leader does not know that at first (R17), and
// the client is to ask again.
func checkHighWatermark(rep *replica.Replica, version int16) error {
	err := rep.CheckHighWatermark()
	if err != nil && version < listOffsetsNotAvailable {
		return fmt.Errorf("%w: %w", kerr.LeaderNotAvailable, err)
	}
	return err
}

// epochAt is the leader epoch of the record at an offset, or of the next one to come.
func epochAt(log *partition.Log, offset int64) int32 {
	for epoch := int32(0); ; {
		found, end := log.EpochEnd(epoch)
		switch {
		case end < 0:
			return log.LeaderEpoch()
		case end > offset:
			return found
		}
		if epoch = max(epoch, found) + 1; epoch > log.LeaderEpoch() {
			return log.LeaderEpoch()
		}
	}
}

// metadataOffsetFor answers for the metadata log, which is not indexed by time.
func (s *Server) metadataOffsetFor(version int16, timestamp int64) (partition.TimeOffset, error) {
	none := partition.TimeOffset{Offset: -1, TimestampMs: -1, LeaderEpoch: metadataTopicEpoch}
	if since, ok := specialTimesSince[timestamp]; timestamp < 0 && (!ok || version < since) {
		return none, kerr.UnsupportedVersion
	}
	switch timestamp {
	case latestOffset:
		none.Offset = s.deps.Meta.Commit()
	case earliestOffset, earliestLocalOffset:
		none.Offset = s.deps.Meta.StartOffset()
	}
	return none, nil
}

// leaderOf finds the replica that this node leads, and checks the client's idea of the leader epoch.
func (s *Server) leaderOf(topic string, index, currentEpoch int32) (*replica.Replica, error) {
	t := s.image().Topic(topic)
	if t == nil || t.Partition(index) == nil {
		return nil, kerr.UnknownTopicOrPartition
	}
	rep := s.deps.Replicas.Get(t.ID, index)
	if rep == nil {
		return nil, replica.ErrNotLeader
	}
	return rep, rep.CheckLeader(currentEpoch)
}

// partitionError is errorCode for one partition of a request, with a log line for what should not happen.
func (s *Server) partitionError(err error, what, topic string, index int32) int16 {
	if !errorKnown(err) {
		s.log.Warn(what+" failed", "topic", printable(topic), "partition", index, "err", err)
	}
	return errorCode(err)
}
