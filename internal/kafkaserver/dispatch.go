package kafkaserver

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxAPIKey bounds Kafka's part of the dispatch table; Kafka 4.3's highest key is 92. Behind it stand our own keys.
const (
	maxAPIKey  = 127
	apiPlaces  = maxAPIKey + 1 + ownAPIKeys
	ownAPIKeys = int(chronikapi.LastKey-chronikapi.FirstKey) + 1
)

// apiPlace is the place of a key in the dispatch table, -1 for a key that cannot be in it.
func apiPlace(key int16) int {
	switch {
	case key >= 0 && key <= maxAPIKey:
		return int(key)
	case chronikapi.IsKey(key):
		return maxAPIKey + 1 + int(key-chronikapi.FirstKey)
	}
	return -1
}

// requestForKey makes an empty request, nil for an unknown key.
func requestForKey(key int16) kmsg.Request {
	if chronikapi.IsKey(key) {
		return chronikapi.RequestForKey(key)
	}
	return kmsg.RequestForKey(key)
}

// api is what a file of this package serves: one key and the versions that ApiVersions advertises for it.
type api struct {
	key      kmsg.Key
	min, max int16 // advertised, both inclusive
	// serveMin is the lowest version that is really served, where Kafka advertises a lower one than it serves (Produce). 0 means min.
	serveMin int16
	// maxBytes bounds the frame; 0 means defaultFrameBytes.
	maxBytes int
	// private keys are served, and listed, only to clients whose software name starts with "chronik"; to others they do not exist.
	private bool
	// controller marks what the node that leads the metadata log answers: forward.go.
	controller bool
	// raw handlers read the body themselves, write their response themselves and complete the request's slot, perhaps later (Produce,
	// Fetch). An error closes the connection.
	raw func(s *Server, r *request, body []byte) error

	// handle decodes body (already walked and found sound) and runs the handler; set by register.
	handle func(s *Server, r *request, body []byte) (kmsg.Response, error)

	// Filled by add.
	schemas  []*walkFields // by version, from serveMin on
	flexFrom int16         // first flexible version
	lastSize atomic.Int64  // size of the last response: the next one's buffer
}

// apis is filled by init functions and constant afterwards.
var apis [apiPlaces]*api

// register makes h the handler of an API. It is called from the init function of the API's file:
//
//	func init() { register(&api{key: kmsg.Heartbeat, min: 0, max: 4}, (*Server).handleHeartbeat) }
//
// The handler gets a decoded request that it owns; byte slices in it alias the frame and die when the handler returns (strings are
// copies). It returns the response, whose version the framework sets, or nil when nothing is to be sent. It runs in the connection's
// goroutine and may block; it must return soon after r.ctx is done.
func register[Q any, P interface {
	*Q
	kmsg.Request
}](a *api, h func(s *Server, r *request, req P) kmsg.Response) {
	a.handle = func(s *Server, r *request, body []byte) (kmsg.Response, error) {
		req := P(new(Q))
		req.SetVersion(r.version)
		if err := decodeRequest(req, body); err != nil {
			return nil, err
		}
		return h(s, r, req), nil
	}
	add(a)
}

// add puts a finished entry into the table. It is called while the package initialises; what it panics on is found by any test.
func add(a *api) {
	k := apiPlace(int16(a.key))
	if k < 0 || apis[k] != nil {
		panic(fmt.Sprintf("kafkaserver: API key %d registered twice or out of range", a.key))
	}
	if a.serveMin == 0 {
		a.serveMin = a.min
	}
	if a.maxBytes == 0 {
		a.maxBytes = defaultFrameBytes
	}
	a.flexFrom = math.MaxInt16
	for v := a.max; v >= a.serveMin; v-- {
		f, err := compileSchema(int16(a.key), v)
		if err != nil {
			panic("kafkaserver: " + err.Error())
		}
		a.schemas = append(a.schemas, f)
		if f.flex {
			a.flexFrom = v
		}
	}
	slices.Reverse(a.schemas)
	apis[k] = a
}

// lookup returns the API that serves a key and version, nil when none does.
func lookup(key, version int16) *api {
	place := apiPlace(key)
	if place < 0 {
		return nil
	}
	a := apis[place]
	if a == nil || version < a.serveMin || version > a.max {
		return nil
	}
	return a
}

// flexibleHeader reports whether a request's header ends with tagged fields.
func flexibleHeader(key, version int16) bool {
	a := lookup(key, version)
	return a != nil && version >= a.flexFrom
}

// request is one request being served: what a handler may know about who asked and how. It is valid until the handler returns.
type request struct {
	ctx      context.Context // done when the connection is over, its peer is gone, or the server stops
	key      int16
	version  int16
	corrID   int32
	clientID *string // as sent; nil when null
	host     string  // the peer's address without the port
	conn     *conn
	slot     uint64 // the response's place in the connection's order
	admin    admin  // nil: this node's controller
}

// clientName is the client id for logs and group members; "" when null.
func (r *request) clientName() string {
	if r.clientID == nil {
		return ""
	}
	return *r.clientID
}

// decodeRequest reads body into req. kmsg's reader is safe here only because the walker has accepted body first.
func decodeRequest(req kmsg.Request, body []byte) error {
	if err := req.ReadFrom(body); err != nil {
		return errBody
	}
	if m, ok := req.(*kmsg.MetadataRequest); ok && m.Version < 4 {
		m.AllowAutoTopicCreation = true // Kafka's default for versions without the field; kmsg says false
	}
	return nil
}
