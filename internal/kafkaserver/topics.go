package kafkaserver

import (
	"github.com/chronik-io/chronik/internal/metadata"
)

// topicCache remembers the last topic that a connection asked for by name, because most requests name one topic, the same again.
// It belongs to the connection's goroutine.
type topicCache struct {
	at    int64 // the image's offset; not the image itself, which idle connections would keep alive
	name  string
	topic *metadata.Topic
}

// byName is the topic of that name in an image, nil if there is none.
func (c *topicCache) byName(im *metadata.Image, name []byte) *metadata.Topic {
	if c.topic != nil && c.at == im.Offset() && c.name == string(name) {
		return c.topic
	}
	if c.name != string(name) {
		c.name = string(name)
	}
	c.at, c.topic = im.Offset(), im.Topic(c.name)
	return c.topic
}

// byNameString is byName for a name that is a string already.
func (c *topicCache) byNameString(im *metadata.Image, name string) *metadata.Topic {
	if c.topic == nil || c.at != im.Offset() || c.name != name {
		c.at, c.name, c.topic = im.Offset(), name, im.Topic(name)
	}
	return c.topic
}

// endpoint is where a node answers clients.
type endpoint struct {
	id   int32
	host string
	port int32
	rack *string
}

// nodeEndpoint finds a live node's address for clients.
func (s *Server) nodeEndpoint(id int32) (endpoint, bool) {
	b := s.image().Broker(id)
	if b == nil || b.Fenced {
		return endpoint{}, false
	}
	return brokerEndpoint(b)
}

// brokerEndpoint is a registered broker's address for clients.
func brokerEndpoint(b *metadata.Broker) (endpoint, bool) {
	e, ok := b.Endpoint(metadata.ListenerKafka)
	if !ok {
		return endpoint{}, false
	}
	p := endpoint{id: b.ID, host: e.Host, port: e.Port}
	if b.Rack != "" {
		p.rack = &b.Rack
	}
	return p, true
}
