package kafkaserver

import (
	"context"
	"slices"
	"time"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.Metadata, min: 0, max: 13, maxBytes: 4 << 20}, (*Server).handleMetadata)
}

// autoCreateWait bounds how long a Metadata request waits for the topics that it creates.
const autoCreateWait = 5 * time.Second

// notAsked stands where the client did not ask for the authorized operations.
const notAsked int32 = -1 << 31

// handleMetadata lists brokers and topics. Topics that it creates are in its own answer, with their leaders, so that no client has to
// back off and ask again.
func (s *Server) handleMetadata(r *request, req *kmsg.MetadataRequest) kmsg.Response {
	resp := kmsg.NewPtrMetadataResponse()
	created := s.autoCreate(r, req)
	im := s.settledImage(r.ctx, req)
	for b := range im.Brokers() {
		if e, ok := brokerEndpoint(b); ok && !b.Fenced {
			resp.Brokers = append(resp.Brokers, kmsg.MetadataResponseBroker{NodeID: e.id, Host: e.host, Port: e.port, Rack: e.rack})
		}
	}
	cluster := s.deps.ClusterID
	resp.ClusterID = &cluster
	resp.ControllerID = s.controllerID()
	resp.AuthorizedOperations = notAsked
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = clusterOperations
	}
	if req.Topics == nil || r.version == 0 && len(req.Topics) == 0 {
		for t := range im.Topics() {
			resp.Topics = append(resp.Topics, s.describeTopic(r.version, im, t, req.IncludeTopicAuthorizedOperations))
		}
		resp.Topics = append(resp.Topics, s.describeMetadataTopic(req.IncludeTopicAuthorizedOperations))
	}
	for i := range req.Topics {
		resp.Topics = append(resp.Topics, s.namedTopic(r, im, &req.Topics[i], req.IncludeTopicAuthorizedOperations, created))
	}
	return resp
}

// autoCreate creates the topics that are named, unknown and may be created, and returns what became of those that were not.
func (s *Server) autoCreate(r *request, req *kmsg.MetadataRequest) map[string]error {
	if !req.AllowAutoTopicCreation || !s.autoCreateEnabled() {
		return nil
	}
	im := s.image()
	var missing []string
	seen := map[string]bool{}
	for i := range req.Topics {
		name := req.Topics[i].Topic
		if name == nil || !uuid.UUID(req.Topics[i].TopicID).IsZero() || seen[*name] || im.Topic(*name) != nil {
			continue
		}
		if metadata.CheckTopicName(*name) != nil || reservedName(*name) && *name != metadata.OffsetsTopic {
			continue
		}
		seen[*name] = true
		missing = append(missing, *name)
	}
	if len(missing) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, autoCreateWait)
	defer cancel()
	outcome := make(map[string]error, len(missing))
	results, err := s.createMissing(ctx, missing)
	for _, name := range missing {
		outcome[name] = err
	}
	for i := range results {
		outcome[results[i].Name] = results[i].Err
	}
	return outcome
}

// autoCreateEnabled is the broker's auto.create.topics.enable.
func (s *Server) autoCreateEnabled() bool {
	return config.BrokerBool(config.AutoCreateTopics, s.brokerLayers(s.image()))
}

// namedTopic answers for one topic that the request names, by name or by id.
func (s *Server) namedTopic(r *request, im *metadata.Image, q *kmsg.MetadataRequestTopic, ops bool, created map[string]error) kmsg.MetadataResponseTopic {
	id := uuid.UUID(q.TopicID)
	fail := func(e *kerr.Error) kmsg.MetadataResponseTopic {
		t := kmsg.NewMetadataResponseTopic()
		t.ErrorCode, t.Topic, t.TopicID, t.AuthorizedOperations = e.Code, q.Topic, id, notAsked
		return t
	}
	if r.version < 12 && (q.Topic == nil || !id.IsZero()) {
		return fail(kerr.InvalidRequest) // versions 10 and 11 have the field and no meaning for it
	}
	if q.Topic == nil && id.IsZero() {
		return fail(kerr.UnknownServerError) // as Kafka
	}
	if !id.IsZero() {
		switch t := im.TopicByID(id); {
		case id == metadata.MetadataTopicID:
			return s.describeMetadataTopic(ops)
		case t == nil:
			q.Topic = nil
			return fail(kerr.UnknownTopicID)
		default:
			return s.describeTopic(r.version, im, t, ops)
		}
	}
	name := *q.Topic
	if name == metadata.MetadataTopic {
		return s.describeMetadataTopic(ops)
	}
	if t := im.Topic(name); t != nil {
		return s.describeTopic(r.version, im, t, ops)
	}
	if metadata.CheckTopicName(name) != nil {
		return fail(kerr.InvalidTopicException)
	}
	switch err := created[name]; {
	case err == nil:
		return fail(kerr.UnknownTopicOrPartition)
	case errorCode(err) == kerr.InvalidTopicException.Code:
		return fail(kerr.InvalidTopicException)
	case retryable(err):
		return fail(kerr.LeaderNotAvailable) // it may appear
	default:
		s.log.Warn("topic not created for a client", "topic", name, "err", err)
		return fail(kerr.UnknownTopicOrPartition)
	}
}

// retryable reports whether an attempt to change metadata may succeed the next time, or has succeeded unseen.
func retryable(err error) bool {
	code := errorCode(err)
	return code == kerr.RequestTimedOut.Code || code == kerr.NotController.Code
}

// describeTopic describes a topic with its partitions.
func (s *Server) describeTopic(version int16, im *metadata.Image, t *metadata.Topic, ops bool) kmsg.MetadataResponseTopic {
	rt := kmsg.NewMetadataResponseTopic()
	rt.Topic, rt.TopicID, rt.IsInternal, rt.AuthorizedOperations = &t.Name, t.ID, t.Internal, notAsked
	if ops {
		rt.AuthorizedOperations = topicOperations
	}
	rt.Partitions = make([]kmsg.MetadataResponseTopicPartition, 0, len(t.Partitions))
	for n, p := range t.Partitions {
		rp := kmsg.NewMetadataResponseTopicPartition()
		rp.Partition, rp.Leader, rp.LeaderEpoch, rp.Replicas, rp.ISR = int32(n), p.Leader, p.LeaderEpoch, p.Replicas, p.ISR
		if !s.leaderServes(im, p.Leader) {
			rp.ErrorCode, rp.Leader = kerr.LeaderNotAvailable.Code, metadata.NoLeader
		}
		for _, b := range p.Replicas {
			if !live(im, b) {
				rp.OfflineReplicas = append(rp.OfflineReplicas, b)
			}
		}
		if version == 0 && len(rp.OfflineReplicas) > 0 {
			hideOffline(&rp)
		}
		rt.Partitions = append(rt.Partitions, rp)
	}
	return rt
}

// hideOffline leaves replicas that are down out of an answer whose version has no place to say so, as Kafka does.
func hideOffline(p *kmsg.MetadataResponseTopicPartition) {
	offline := func(id int32) bool { return slices.Contains(p.OfflineReplicas, id) }
	p.Replicas = slices.DeleteFunc(slices.Clone(p.Replicas), offline)
	p.ISR = slices.DeleteFunc(slices.Clone(p.ISR), offline)
	if p.ErrorCode == 0 {
		p.ErrorCode = kerr.ReplicaNotAvailable.Code
	}
}

// leaderServes reports whether clients may be told that a broker leads: it is in service, and is not this one cut off from the others.
func (s *Server) leaderServes(im *metadata.Image, id int32) bool {
	return id != metadata.NoLeader && live(im, id) && !(id == s.deps.NodeID && s.cutOff())
}

// suspectWait bounds how long an answer is held back because a leader that it would name seems dead. A client that is told too early
// asks again only after its minimum age of metadata, which is seconds.
const (
	suspectWait = time.Second
	suspectLook = 50 * time.Millisecond
)

// settledImage is the image to answer from: one in which nobody leads what is asked for who seems dead, and not that of a node which has
// been away and does not know yet what has happened, if that comes soon. The leaders are asked whether they are there: a client comes
// because its broker has died, and may know that before this node does.
func (s *Server) settledImage(ctx context.Context, req *kmsg.MetadataRequest) *metadata.Image {
	im := s.image()
	if !s.forwards() {
		return im
	}
	deadline := time.Now().Add(suspectWait)
	lost := s.deps.Cluster.Lost(ctx, s.leadersOf(im, req))
	for {
		im = s.image()
		leaders := s.leadersOf(im, req)
		suspects := s.deps.Cluster.Suspects()
		suspected := func(id int32) bool { return slices.Contains(suspects, id) || slices.Contains(lost, id) }
		if !s.cutOff() && !slices.ContainsFunc(leaders, suspected) || time.Now().After(deadline) || ctx.Err() != nil {
			return im
		}
		look, cancel := context.WithTimeout(ctx, suspectLook)
		_ = s.deps.Meta.WaitApplied(look, im.Offset()+1) // the next image, or a look at the suspects
		cancel()
		if still := s.deps.Cluster.Suspects(); len(still) == 0 && len(lost) > 0 {
			lost = s.deps.Cluster.Lost(ctx, lost) // it was the connection only
		}
	}
}

// leadersOf lists the other brokers that lead, in service, a partition that the request asks for.
func (s *Server) leadersOf(im *metadata.Image, req *kmsg.MetadataRequest) (leaders []int32) {
	most := 0
	for b := range im.Brokers() {
		if b.ID != s.deps.NodeID && !b.Fenced {
			most++
		}
	}
	add := func(t *metadata.Topic) {
		if t == nil {
			return
		}
		for _, p := range t.Partitions {
			if len(leaders) == most {
				return
			}
			if p.Leader != s.deps.NodeID && live(im, p.Leader) && !slices.Contains(leaders, p.Leader) {
				leaders = append(leaders, p.Leader)
			}
		}
	}
	if req.Topics == nil {
		for t := range im.Topics() {
			if add(t); len(leaders) == most {
				break
			}
		}
		return leaders
	}
	for _, q := range req.Topics {
		if q.Topic != nil {
			add(im.Topic(*q.Topic))
		} else {
			add(im.TopicByID(q.TopicID))
		}
	}
	return leaders
}

// live reports whether a broker is registered and not fenced.
func live(im *metadata.Image, id int32) bool {
	b := im.Broker(id)
	return b != nil && !b.Fenced
}

// describeMetadataTopic describes the metadata log: each broker serves it from its own copy and so names itself.
func (s *Server) describeMetadataTopic(ops bool) kmsg.MetadataResponseTopic {
	name := metadata.MetadataTopic
	rt := kmsg.NewMetadataResponseTopic()
	rt.Topic, rt.TopicID, rt.IsInternal, rt.AuthorizedOperations = &name, metadata.MetadataTopicID, true, notAsked
	if ops {
		rt.AuthorizedOperations = topicOperations
	}
	rp := kmsg.NewMetadataResponseTopicPartition()
	rp.Leader, rp.LeaderEpoch = s.deps.NodeID, metadataTopicEpoch
	for _, v := range s.image().Voters() {
		rp.Replicas = append(rp.Replicas, v.NodeID)
	}
	rp.ISR = rp.Replicas
	rt.Partitions = append(rt.Partitions, rp)
	return rt
}
