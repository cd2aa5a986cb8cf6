package kafkaserver

import (
	"context"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/twmb/franz-go/pkg/kerr"
)

// admin is what handlers ask of the controller. *controller.Controller is one.
type admin interface {
	CreateTopics(ctx context.Context, topics []controller.NewTopic, validateOnly bool) ([]controller.TopicResult, error)
	DeleteTopics(ctx context.Context, refs []controller.TopicRef) ([]controller.DeletedTopic, error)
	CreatePartitions(ctx context.Context, topics []controller.NewPartitions, validateOnly bool) ([]controller.ItemResult, error)
	AlterConfigs(ctx context.Context, resources []controller.ResourceChanges, validateOnly bool) ([]error, error)
	IncrementalAlterConfigs(ctx context.Context, resources []controller.ResourceChanges, validateOnly bool) ([]error, error)
	ElectLeaders(ctx context.Context, kind controller.Election, partitions []controller.TopicPartition) ([]controller.ElectionResult, error)
}

// admin is the controller for a request's handler: the one of this node, unless throughController says otherwise.
func (s *Server) admin(r *request) admin {
	if r.admin != nil {
		return r.admin
	}
	return s.deps.Controller
}

// observedAdmin remembers with which error the controller failed as a whole.
type observedAdmin struct {
	c   *controller.Controller
	err error
}

func observe[T any](o *observedAdmin, result T, err error) (T, error) {
	if err != nil {
		o.err = err
	}
	return result, err
}

func (o *observedAdmin) CreateTopics(ctx context.Context, topics []controller.NewTopic, validateOnly bool) ([]controller.TopicResult, error) {
	r, err := o.c.CreateTopics(ctx, topics, validateOnly)
	return observe(o, r, err)
}

func (o *observedAdmin) DeleteTopics(ctx context.Context, refs []controller.TopicRef) ([]controller.DeletedTopic, error) {
	r, err := o.c.DeleteTopics(ctx, refs)
	return observe(o, r, err)
}

func (o *observedAdmin) CreatePartitions(ctx context.Context, topics []controller.NewPartitions, validateOnly bool) ([]controller.ItemResult, error) {
	r, err := o.c.CreatePartitions(ctx, topics, validateOnly)
	return observe(o, r, err)
}

func (o *observedAdmin) AlterConfigs(ctx context.Context, resources []controller.ResourceChanges, validateOnly bool) ([]error, error) {
	r, err := o.c.AlterConfigs(ctx, resources, validateOnly)
	return observe(o, r, err)
}

func (o *observedAdmin) IncrementalAlterConfigs(ctx context.Context, resources []controller.ResourceChanges, validateOnly bool) ([]error, error) {
	r, err := o.c.IncrementalAlterConfigs(ctx, resources, validateOnly)
	return observe(o, r, err)
}

func (o *observedAdmin) ElectLeaders(ctx context.Context, kind controller.Election, partitions []controller.TopicPartition) ([]controller.ElectionResult, error) {
	r, err := o.c.ElectLeaders(ctx, kind, partitions)
	return observe(o, r, err)
}

// refusedAdmin does nothing but fail, so that a handler writes its API's answer to a request that the controller did not do.
type refusedAdmin struct{ err error }

func (o refusedAdmin) CreateTopics(context.Context, []controller.NewTopic, bool) ([]controller.TopicResult, error) {
	return nil, o.err
}

func (o refusedAdmin) DeleteTopics(context.Context, []controller.TopicRef) ([]controller.DeletedTopic, error) {
	return nil, o.err
}

func (o refusedAdmin) CreatePartitions(context.Context, []controller.NewPartitions, bool) ([]controller.ItemResult, error) {
	return nil, o.err
}

func (o refusedAdmin) AlterConfigs(context.Context, []controller.ResourceChanges, bool) ([]error, error) {
	return nil, o.err
}

func (o refusedAdmin) IncrementalAlterConfigs(context.Context, []controller.ResourceChanges, bool) ([]error, error) {
	return nil, o.err
}

func (o refusedAdmin) ElectLeaders(context.Context, controller.Election, []controller.TopicPartition) ([]controller.ElectionResult, error) {
	return nil, o.err
}

func init() {
	mapErrors(
		errorMapping{ErrNotSent, kerr.NotController},
		errorMapping{errUnservedThere, kerr.UnsupportedVersion},
	)
}

// createMissing creates topics with the defaults, on the controller.
func (s *Server) createMissing(ctx context.Context, names []string) ([]controller.TopicResult, error) {
	if !s.forwards() {
		return s.deps.Controller.AutoCreateTopics(ctx, names)
	}
	var results []controller.TopicResult
	err := s.onController(ctx,
		func() []byte { return appendForwardedCreation(nil, names) },
		func(ctx context.Context) (err error) {
			results, err = s.deps.Controller.AutoCreateTopics(ctx, names)
			return err
		},
		func(b []byte) (err error) {
			results, err = decodeCreated(b)
			return err
		})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (s *Server) serveForwardedCreation(ctx context.Context, f *forwarded) ([]byte, error) {
	results, err := s.deps.Controller.AutoCreateTopics(ctx, f.names)
	if err != nil {
		return nil, err
	}
	return appendCreated(nil, results), nil
}

// allocateProducerIDs gets a block of producer ids from the controller.
func (s *Server) allocateProducerIDs(ctx context.Context, epoch int64, count int) (first, next int64, err error) {
	if !s.forwards() {
		return s.deps.Controller.AllocateProducerIDs(ctx, s.deps.NodeID, epoch, count)
	}
	err = s.onController(ctx,
		func() []byte { return appendForwardedProducerIDs(nil, s.deps.NodeID, epoch, count) },
		func(ctx context.Context) (err error) {
			first, next, err = s.deps.Controller.AllocateProducerIDs(ctx, s.deps.NodeID, epoch, count)
			return err
		},
		func(b []byte) error {
			d := forwardReader{b: b}
			first, next = d.int64(), d.int64()
			return d.end()
		})
	return first, next, err
}

func (s *Server) serveForwardedProducerIDs(ctx context.Context, f *forwarded) ([]byte, error) {
	first, next, err := s.deps.Controller.AllocateProducerIDs(ctx, f.broker, f.epoch, f.count)
	if err != nil {
		return nil, err
	}
	return appendInt64(appendInt64(nil, first), next), nil
}
