package node

import (
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/peer"
)

// syncTimes are upper bounds of percentiles of the times that the node WAL's syncs took: those of the buckets that they fall into.
func (n *Node) syncTimes() (p50, p99 time.Duration, ok bool) {
	metric, isMetric := n.disk.syncs.WithLabelValues(dirWAL).(prometheus.Metric)
	var m dto.Metric
	if !isMetric || metric.Write(&m) != nil || m.GetHistogram().GetSampleCount() == 0 {
		return 0, 0, false
	}
	h := m.GetHistogram()
	at := func(share float64) time.Duration {
		want := uint64(math.Ceil(share * float64(h.GetSampleCount())))
		last := 0.0
		for _, b := range h.GetBucket() {
			last = b.GetUpperBound()
			if b.GetCumulativeCount() >= want {
				break
			}
		}
		return time.Duration(last * float64(time.Second))
	}
	return at(0.50), at(0.99), true
}

// peerStates says how things are with the other nodes.
func (n *Node) peerStates() []chronikapi.Peer {
	var all []chronikapi.Peer
	nowMs := time.Now().UnixMilli()
	st := n.meta.Status()
	for _, p := range n.mesh.Peers() {
		s := chronikapi.Peer{NodeID: p.Node, Address: p.Address, State: peerState(&p, &st), HeardMsAgo: chronikapi.None}
		if p.HeardMs > 0 {
			s.HeardMsAgo = max(0, nowMs-p.HeardMs)
		}
		if p.Err != nil {
			s.Error = p.Err.Error()
		}
		all = append(all, s)
	}
	return all
}

func peerState(p *peer.PeerStatus, st *metalog.Status) string {
	banned := func(m metalog.Member) bool { return m.NodeID == p.Node && st.Voters.Has(m) } // a disk that is no member any more is no matter
	switch {
	case slices.ContainsFunc(st.Banned, banned):
		return chronikapi.PeerBanned
	case (p.Out || p.In) && p.Hello.Founding:
		return chronikapi.PeerEmpty
	case p.Out && p.In:
		return chronikapi.PeerConnected
	case p.Out || p.In:
		return chronikapi.PeerHalf
	case p.Refused:
		return chronikapi.PeerRefused
	}
	return chronikapi.PeerUnreachable
}
