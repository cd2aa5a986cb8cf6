package kafkaserver

import (
	"regexp"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.ApiVersions, min: 0, max: 4, maxBytes: 64 << 10}, (*Server).handleAPIVersions)
}

// softwareName is Kafka's rule for the name and version of client software (KIP-511).
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

// handleAPIVersions lists what is served.
func (s *Server) handleAPIVersions(r *request, req *kmsg.ApiVersionsRequest) kmsg.Response {
	resp := kmsg.NewPtrApiVersionsResponse()
	if r.version >= 3 {
		if !softwareName.MatchString(req.ClientSoftwareName) || !softwareName.MatchString(req.ClientSoftwareVersion) {
			resp.ErrorCode = kerr.InvalidRequest.Code
			return resp
		}
		r.conn.soft = software{name: req.ClientSoftwareName, version: req.ClientSoftwareVersion}
	}
	resp.ApiKeys = advertised(chronikapi.IsClient(r.conn.soft.name))
	s.addFeatures(r.version, resp)
	return resp
}

// advertised is the list of served keys, in order.
func advertised(private bool) []kmsg.ApiVersionsResponseApiKey {
	var keys []kmsg.ApiVersionsResponseApiKey
	for _, a := range apis {
		if a == nil || a.private && !private {
			continue
		}
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = int16(a.key), a.min, a.max
		keys = append(keys, k)
	}
	return keys
}

// addFeatures lists the features of the cluster.
func (s *Server) addFeatures(version int16, resp *kmsg.ApiVersionsResponse) {
	if version < 3 {
		return
	}
	resp.FinalizedFeaturesEpoch = -1
}

// answerUnknownAPIVersions tells a client that asks in a version that is not known which ones are, in version 0, which every client
// reads.
func (c *conn) answerUnknownAPIVersions(h header) error {
	n, ok := c.out.reserve(c.s.limits.MaxInFlight, c.s.limits.MaxResponseBytes)
	if !ok {
		return errPeerGone
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = kerr.UnsupportedVersion.Code
	for _, k := range advertised(false) {
		if k.ApiKey == int16(kmsg.ApiVersions) {
			resp.ApiKeys = append(resp.ApiKeys, k)
		}
	}
	c.begin(h, n)
	c.req.version = 0
	c.out.completeBlocking(n, encode(apis[kmsg.ApiVersions], &c.req, resp))
	return nil
}
