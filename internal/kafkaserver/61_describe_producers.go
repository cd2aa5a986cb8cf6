package kafkaserver

import (
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.DescribeProducers, min: 0, max: 0}, (*Server).handleDescribeProducers)
}

// handleDescribeProducers lists the idempotent producers that partitions remember.
func (s *Server) handleDescribeProducers(_ *request, req *kmsg.DescribeProducersRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeProducersResponse()
	im := s.image()
	for i := range req.Topics {
		t := kmsg.NewDescribeProducersResponseTopic()
		t.Topic = req.Topics[i].Topic
		for _, n := range req.Topics[i].Partitions {
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = n
			producers, err := s.describeProducers(im, t.Topic, n)
			p.ActiveProducers, p.ErrorCode, p.ErrorMessage = producers, errorCode(err), errorText(err)
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func (s *Server) describeProducers(im *metadata.Image, topic string, n int32) ([]kmsg.DescribeProducersResponseTopicPartitionActiveProducer, error) {
	if err := metadata.CheckTopicName(topic); err != nil {
		return nil, err
	}
	if topic == metadata.MetadataTopic && n == 0 {
		return nil, nil // nobody produces to the metadata log
	}
	t := im.Topic(topic)
	if t == nil || t.Partition(n) == nil {
		return nil, kerr.UnknownTopicOrPartition
	}
	replica := s.deps.Replicas.Get(t.ID, n)
	if replica == nil {
		return nil, kerr.NotLeaderForPartition
	}
	if err := replica.CheckLeader(-1); err != nil {
		return nil, err
	}
	var producers []kmsg.DescribeProducersResponseTopicPartitionActiveProducer
	for _, state := range replica.Log().Producers() {
		p := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		p.ProducerID, p.ProducerEpoch, p.LastSequence = state.ProducerID, int32(state.ProducerEpoch), state.LastSequence
		p.LastTimestamp, p.CoordinatorEpoch, p.CurrentTxnStartOffset = state.LastTimestampMs, state.CoordinatorEpoch, state.TxnStartOffset
		producers = append(producers, p)
	}
	return producers, nil
}
