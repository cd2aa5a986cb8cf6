package peer

import (
	"github.com/chronik-io/chronik/internal/metalog"
)

// Transport carries the messages of the metadata log over a mesh. It implements metalog.Transport.
type Transport struct{ m *Mesh }

// MetalogTransport makes the transport of a metadata log.
func MetalogTransport(m *Mesh) *Transport { return &Transport{m: m} }

// Send encodes a message and queues it; it is dropped if there is no connection or no room.
func (t *Transport) Send(m *metalog.Message) {
	if t.m.out(m.To.NodeID) == nil {
		return // not worth encoding
	}
	t.m.cast(m.To.NodeID, FrameMetalog, metalog.AppendMessage(newFrame(), m))
}

// Deliver hands incoming messages to a log. A message counts only if it names the process at the other end of its connection.
func (t *Transport) Deliver(deliver func(*metalog.Message)) {
	t.m.HandleCast(FrameMetalog, func(from *Hello, payload []byte) {
		m, err := metalog.DecodeMessage(payload)
		switch {
		case err != nil:
			t.m.o.Logger.Warn("metadata log: message dropped", "node", from.Member.NodeID, "err", err)
		case m.From == from.Member && m.FromBoot == from.Boot && m.FromNonce == from.Nonce:
			deliver(m)
		}
	})
}
