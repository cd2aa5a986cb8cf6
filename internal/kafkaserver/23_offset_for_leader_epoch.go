package kafkaserver

import (
	"github.com/chronik-io/chronik/internal/replica"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.OffsetForLeaderEpoch, min: 2, max: 4, maxBytes: 4 << 20}, (*Server).handleOffsetForLeaderEpoch)
}

// handleOffsetForLeaderEpoch tells where leader epochs end, so that a client notices that the log was truncated under it (KIP-320).
func (s *Server) handleOffsetForLeaderEpoch(_ *request, req *kmsg.OffsetForLeaderEpochRequest) kmsg.Response {
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
		rt.Topic = t.Topic
		for k := range t.Partitions {
			q := &t.Partitions[k]
			rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			rp.Partition, rp.LeaderEpoch, rp.EndOffset = q.Partition, -1, -1
			rep, err := s.leaderOf(t.Topic, q.Partition, q.CurrentLeaderEpoch)
			if err != nil {
				rp.ErrorCode = s.partitionError(err, "find epoch end", t.Topic, q.Partition)
			} else {
				rp.LeaderEpoch, rp.EndOffset = epochEnd(rep, q.LeaderEpoch)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// epochEnd is the largest epoch up to the one asked for and where it ends; -1, -1 when the epoch is above any known.
func epochEnd(rep *replica.Replica, epoch int32) (int32, int64) {
	if epoch < 0 {
		return -1, -1
	}
	if epoch == rep.LeaderEpoch() {
		return epoch, rep.End() // also when nothing has been written in it yet
	}
	return rep.Log().EpochEnd(epoch)
}
