package kafkaserver

import (
	"maps"
	"runtime"
	"runtime/metrics"
	"slices"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.Key(chronikapi.NodeStats), private: true}, (*Server).handleNodeStats)
}

// handleNodeStats says how much this node does.
func (s *Server) handleNodeStats(_ *request, req *chronikapi.NodeStatsRequest) kmsg.Response {
	resp := req.ResponseKind().(*chronikapi.NodeStatsResponse)
	st, wal := s.Stats(), s.deps.Store.Usage()
	resp.NodeID, resp.UptimeMs = s.deps.NodeID, s.uptime().Milliseconds()
	resp.Connections, resp.BytesIn, resp.BytesOut = int64(st.Connections), st.BytesIn, st.BytesOut
	resp.FrameBytes, resp.FetchBytes = st.FrameBytes, st.FetchBytes
	for _, key := range slices.Sorted(maps.Keys(st.Requests)) {
		resp.Requests = append(resp.Requests, chronikapi.KeyCount{Key: key, Count: st.Requests[key]})
	}
	resp.WALCommits, resp.WALRecords, resp.WALUsedBytes, resp.WALMaxBytes = int64(wal.Commits), int64(wal.Records), wal.UsedBytes, wal.MaxBytes
	resp.PendingBytes, resp.RingBytes = wal.Pending, wal.RingBytes
	resp.SyncP50Us, resp.SyncP99Us = chronikapi.None, chronikapi.None
	if s.deps.SyncTimes != nil {
		if p50, p99, ok := s.deps.SyncTimes(); ok {
			resp.SyncP50Us, resp.SyncP99Us = p50.Microseconds(), p99.Microseconds()
		}
	}
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}} // does not stop the world, as ReadMemStats does
	metrics.Read(heap)
	if heap[0].Value.Kind() == metrics.KindUint64 {
		resp.HeapBytes = int64(heap[0].Value.Uint64())
	}
	resp.Goroutines = int32(runtime.NumGoroutine())
	return resp
}
