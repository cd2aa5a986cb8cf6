package membership

import (
	"net"
	"sync"
)

// bans are the servers whose disk is not to be heard any more, and the connections with all servers. They stay in Raft's configuration,
// where they count as voters that are away.
type bans struct {
	mu   sync.Mutex // guards the rest
	ids  map[string]struct{}
	open map[*watched]struct{}
}

// watched is a connection with a server.
type watched struct {
	net.Conn
	bans *bans
	id   string
}

func newBans() *bans { return &bans{ids: map[string]struct{}{}, open: map[*watched]struct{}{}} }

func (b *bans) has(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.ids[id]
	return ok
}

// watch returns conn as one that ends when the server is banned; nil if that has happened.
func (b *bans) watch(id string, conn net.Conn) net.Conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.ids[id]; ok {
		return nil
	}
	w := &watched{Conn: conn, bans: b, id: id}
	b.open[w] = struct{}{}
	return w
}

// Close ends the connection.
func (w *watched) Close() error {
	w.bans.mu.Lock()
	delete(w.bans.open, w)
	w.bans.mu.Unlock()
	return w.Conn.Close()
}

func (b *bans) add(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ids[id] = struct{}{}
	for w := range b.open {
		if w.id == id {
			_ = w.Conn.Close()
		}
	}
}

// Ban ends the connections with a member and takes no others, until this process ends: neither its votes nor its heartbeats are heard.
// Whoever is not heard by the metadata log must not lead here either: it could do nothing, and would keep others from leading.
func (m *Membership) Ban(member Member) { m.o.bans.add(string(member.serverID())) }
