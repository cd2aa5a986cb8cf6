package kafkaserver

import (
	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/controller"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.CreateTopics, min: 2, max: 7, controller: true}, (*Server).handleCreateTopics)
}

// handleCreateTopics creates topics, all of a request in one proposal.
func (s *Server) handleCreateTopics(r *request, req *kmsg.CreateTopicsRequest) kmsg.Response {
	resp := kmsg.NewPtrCreateTopicsResponse()
	if len(req.Topics) == 0 {
		return resp
	}
	topics := make([]controller.NewTopic, len(req.Topics))
	for i := range req.Topics {
		topics[i] = newTopic(&req.Topics[i])
	}
	ctx, cancel := adminContext(r, req.TimeoutMillis)
	defer cancel()
	results, err := s.admin(r).CreateTopics(ctx, topics, req.ValidateOnly)
	if err != nil {
		for i := range topics {
			resp.Topics = append(resp.Topics, createTopicsError(topics[i].Name, err))
		}
		return resp
	}
	layers := s.layers(s.image(), "")
	for i := range results {
		resp.Topics = append(resp.Topics, createdTopic(r.version, layers, &results[i]))
	}
	return resp
}

func newTopic(t *kmsg.CreateTopicsRequestTopic) controller.NewTopic {
	n := controller.NewTopic{Name: t.Topic, Partitions: t.NumPartitions, ReplicationFactor: int32(t.ReplicationFactor)}
	for _, a := range t.ReplicaAssignment {
		n.Assignment = append(n.Assignment, controller.Assignment{Partition: a.Partition, Replicas: a.Replicas})
	}
	for _, c := range t.Configs {
		n.Configs = append(n.Configs, controller.ConfigValue{Name: c.Name, Value: c.Value})
	}
	return n
}

func createTopicsError(name string, err error) kmsg.CreateTopicsResponseTopic {
	t := kmsg.NewCreateTopicsResponseTopic()
	t.Topic, t.ErrorCode, t.ErrorMessage = name, errorCode(err), refusalText(err)
	return t
}

// createdTopic describes a topic, from version 5 on with all its settings, those it has by default included.
func createdTopic(version int16, layers config.Layers, res *controller.TopicResult) kmsg.CreateTopicsResponseTopic {
	if res.Err != nil {
		return createTopicsError(res.Name, res.Err)
	}
	t := kmsg.NewCreateTopicsResponseTopic()
	t.Topic, t.TopicID = res.Name, res.ID
	t.NumPartitions, t.ReplicationFactor = res.Partitions, int16(res.ReplicationFactor)
	if version < 5 {
		return t
	}
	layers.Topic = res.Configs
	settings := config.TopicSettings()
	t.Configs = make([]kmsg.CreateTopicsResponseTopicConfig, 0, len(settings))
	for i := range settings {
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		value, source := config.Topic(&settings[i], layers)
		c.Name, c.Value, c.Source = settings[i].Name, value, int8(source)
		t.Configs = append(t.Configs, c)
	}
	return t
}
