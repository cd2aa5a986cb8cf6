package clients

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// The library around librdkafka, which kcat and the clients of many other languages use too.
var confluent = library{name: "confluent", newProducer: newConfluentProducer, newConsumer: newConfluentConsumer}

type confluentProducer struct{ p *kafka.Producer }

func newConfluentProducer(t *testing.T, bootstrap []string, o producerOptions) producer {
	cfg := kafka.ConfigMap{"bootstrap.servers": strings.Join(bootstrap, ","), "compression.type": o.codec, "enable.idempotence": o.idempotent, "acks": "all"}
	if o.maxBytes > 0 {
		cfg["message.max.bytes"] = o.maxBytes
	}
	p, err := kafka.NewProducer(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	return confluentProducer{p}
}

func (p confluentProducer) send(ctx context.Context, topic string, messages []message) error {
	delivered := make(chan kafka.Event, len(messages))
	for _, m := range messages {
		err := p.p.Produce(&kafka.Message{TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: kafka.PartitionAny}, Key: []byte(m.key), Value: []byte(m.value),
			Headers: []kafka.Header{{Key: "h", Value: []byte(m.header)}}}, delivered)
		if err != nil {
			return err
		}
	}
	var first error
	for range messages {
		select {
		case e := <-delivered:
			if m := e.(*kafka.Message); m.TopicPartition.Error != nil && first == nil {
				first = m.TopicPartition.Error
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return first
}

func (p confluentProducer) close() { p.p.Close() }

type confluentConsumer struct{ c *kafka.Consumer }

func newConfluentConsumer(t *testing.T, bootstrap []string, group, topic string) consumer {
	c, err := kafka.NewConsumer(&kafka.ConfigMap{"bootstrap.servers": strings.Join(bootstrap, ","), "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": false})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	return confluentConsumer{c}
}

func (c confluentConsumer) poll(ctx context.Context) ([]message, error) {
	for ctx.Err() == nil {
		m, err := c.c.ReadMessage(100 * time.Millisecond)
		if err != nil {
			if e, ok := err.(kafka.Error); ok && !e.IsFatal() {
				continue
			}
			return nil, err
		}
		out := message{key: string(m.Key), value: string(m.Value)}
		for _, h := range m.Headers {
			out.header = string(h.Value)
		}
		return []message{out}, nil
	}
	return nil, ctx.Err()
}

func (c confluentConsumer) commit(context.Context) error { _, err := c.c.Commit(); return err }
func (c confluentConsumer) close()                       { c.c.Close() }
