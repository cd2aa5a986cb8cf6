package clients

import (
	"context"
	"errors"
	"testing"

	"github.com/IBM/sarama"
)

var saramaLibrary = library{name: "sarama", newProducer: newSaramaProducer, newConsumer: newSaramaConsumer}

type saramaProducer struct{ p sarama.SyncProducer }

func newSaramaProducer(t *testing.T, bootstrap []string, o producerOptions) producer {
	c := sarama.NewConfig()
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Compression = map[string]sarama.CompressionCodec{"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
		"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}[o.codec]
	if o.idempotent {
		c.Producer.Idempotent = true
		c.Net.MaxOpenRequests = 1
	}
	if o.maxBytes > 0 {
		c.Producer.MaxMessageBytes = o.maxBytes
	}
	p, err := sarama.NewSyncProducer(bootstrap, c)
	if err != nil {
		t.Fatal(err)
	}
	return saramaProducer{p}
}

func (p saramaProducer) send(_ context.Context, topic string, messages []message) error {
	var all []*sarama.ProducerMessage
	for _, m := range messages {
		all = append(all, &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(m.key), Value: sarama.StringEncoder(m.value),
			Headers: []sarama.RecordHeader{{Key: []byte("h"), Value: []byte(m.header)}}})
	}
	err := p.p.SendMessages(all)
	var many sarama.ProducerErrors
	if errors.As(err, &many) {
		return many[0].Err
	}
	return err
}

func (p saramaProducer) close() { p.p.Close() }

// saramaConsumer turns sarama's callbacks into polls.
type saramaConsumer struct {
	g        sarama.ConsumerGroup
	cancel   context.CancelFunc
	done     chan struct{}
	messages chan *sarama.ConsumerMessage
	session  chan sarama.ConsumerGroupSession
	last     sarama.ConsumerGroupSession
}

func newSaramaConsumer(t *testing.T, bootstrap []string, group, topic string) consumer {
	cfg := sarama.NewConfig()
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	cfg.Consumer.Offsets.AutoCommit.Enable = false
	g, err := sarama.NewConsumerGroup(bootstrap, group, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &saramaConsumer{g: g, cancel: cancel, done: make(chan struct{}), messages: make(chan *sarama.ConsumerMessage), session: make(chan sarama.ConsumerGroupSession, 1)}
	go func() {
		defer close(c.done)
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{topic}, c); err != nil && ctx.Err() == nil {
				t.Logf("sarama consumer: %v", err)
			}
		}
	}()
	return c
}

func (c *saramaConsumer) Setup(s sarama.ConsumerGroupSession) error {
	select {
	case <-c.session:
	default:
	}
	c.session <- s
	return nil
}

func (c *saramaConsumer) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (c *saramaConsumer) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			select {
			case c.messages <- m:
				s.MarkMessage(m, "")
			case <-s.Context().Done():
				return nil
			}
		case <-s.Context().Done():
			return nil
		}
	}
}

func (c *saramaConsumer) poll(ctx context.Context) ([]message, error) {
	select {
	case m := <-c.messages:
		out := message{key: string(m.Key), value: string(m.Value)}
		for _, h := range m.Headers {
			out.header = string(h.Value)
		}
		return []message{out}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *saramaConsumer) commit(ctx context.Context) error {
	if c.last == nil {
		select {
		case c.last = <-c.session:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case c.last = <-c.session: // a later one
	default:
	}
	c.last.Commit()
	return nil
}

func (c *saramaConsumer) close() {
	c.cancel()
	<-c.done
	c.g.Close()
}
