package kafkaserver

import (
	"context"
	"maps"
	"net"
	"strconv"
	"time"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Bounds of how long an admin request waits for its commit, whatever its timeout says.
const (
	adminTimeoutMin     = time.Second
	adminTimeoutMax     = time.Minute
	adminTimeoutDefault = 30 * time.Second // for requests without one
)

// adminContext ends when the client's timeout has passed or its connection is gone.
func adminContext(r *request, timeoutMs int32) (context.Context, context.CancelFunc) {
	timeout := min(max(time.Duration(timeoutMs)*time.Millisecond, adminTimeoutMin), adminTimeoutMax)
	return context.WithTimeout(r.ctx, timeout)
}

// Authorized operations as bit fields (KIP-430): without an authorizer everybody may do everything.
const (
	topicOperations   = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	clusterOperations = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
)

// controllerID is the node that leads the metadata log, -1 if none is known.
func (s *Server) controllerID() int32 {
	if id := s.deps.Meta.Status().Leader; !id.DiskID.IsZero() {
		return id.NodeID
	}
	return -1
}

// layers are the places the settings of a topic ("" for this broker itself) come from.
func (s *Server) layers(im *metadata.Image, topic string) config.Layers {
	return controller.Layers(im, s.given, s.deps.NodeID, topic)
}

// shownLayers are the layers of this broker's settings with the listeners among them, which are known only once they are bound.
func (s *Server) shownLayers(im *metadata.Image) config.Layers {
	l := s.layers(im, "")
	l.Static = maps.Clone(l.Static)
	l.Static["process.roles"] = "broker,controller"
	if b := im.Broker(s.deps.NodeID); b != nil {
		if e, ok := brokerEndpoint(b); ok {
			address := "PLAINTEXT://" + net.JoinHostPort(e.host, strconv.Itoa(int(e.port)))
			l.Static["listeners"], l.Static[config.AdvertisedListeners] = address, address
		}
	}
	return l
}

// configType is a setting's type as clients know it.
func configType(t config.SettingType) kmsg.ConfigType {
	switch t {
	case config.TypeBoolean:
		return kmsg.ConfigTypeBoolean
	case config.TypeInt:
		return kmsg.ConfigTypeInt
	case config.TypeShort:
		return kmsg.ConfigTypeShort
	case config.TypeLong:
		return kmsg.ConfigTypeLong
	case config.TypeDouble:
		return kmsg.ConfigTypeDouble
	case config.TypeList:
		return kmsg.ConfigTypeList
	}
	return kmsg.ConfigTypeString
}
