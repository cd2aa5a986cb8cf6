package kafkaserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Deps is what the server works on. All of it outlives the server.
type Deps struct {
	NodeID    int32
	ClusterID string
	Logger    *slog.Logger
}

// Listener is one bound address and what clients are told about it.
type Listener struct {
	Name      string // Kafka's listener name, such as PLAINTEXT
	Net       net.Listener
	Advertise string // host:port that Metadata answers with for this node
}

// Limits bound what clients can make the server hold or wait for. Zero fields take Kafka's defaults (see defaultLimits).
type Limits struct {
	RequestMaxBytes  int           // socket.request.max.bytes: Produce and Fetch frames; other keys have lower bounds of their own
	MaxConnections   int           // max.connections
	MaxPerIP         int           // max.connections.per.ip
	IdleTimeout      time.Duration // connections.max.idle.ms
	InFlightBytes    int64         // all frames being read or served, over all connections
	FetchBytes       int64         // all fetch responses being built or sent
	FrameTimeout     time.Duration // from a frame's first byte to its last
	WriteTimeout     time.Duration // a response that makes no progress for so long closes the connection
	MaxInFlight      int           // unanswered requests per connection; the reader stops at it
	MaxResponseBytes int           // unsent response bytes per connection; the reader stops at it
}

// Server serves the Kafka protocol. Make it with New, run it with Serve, end it with Shutdown.
type Server struct {
	deps   Deps
	limits Limits
	log    *slog.Logger

	ctx    context.Context // done when the server stops
	cancel context.CancelFunc

	mu    sync.Mutex // guards conns, perIP
	conns map[*conn]struct{}
	perIP map[string]int
	wg    sync.WaitGroup // connections and listeners

	closing atomic.Bool
}

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("kafka server closed")
