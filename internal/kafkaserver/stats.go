package kafkaserver

import "sync/atomic"

// Stats is a snapshot of the server's counters.
type Stats struct {
	Connections   int
	Accepted      int64
	Refused       int64 // over a limit of connections
	Closed        int64 // ended by the server: malformed input, timeouts, limits
	BytesIn       int64
	BytesOut      int64
	FrameBytes    int64 // held by read buffers now
	FetchBytes    int64 // held by fetch responses now
	FetchSessions int
	Requests      map[int16]int64 // by API key; -1: keys not served
}

// counters are the server's own.
type counters struct {
	accepted, refused, closed atomic.Int64
	bytesIn, bytesOut         atomic.Int64
	requests                  [apiPlaces + 1]atomic.Int64 // the last: not served
}

func (c *counters) countRequest(key int16) {
	place := apiPlace(key)
	if place < 0 || apis[place] == nil {
		place = apiPlaces
	}
	c.requests[place].Add(1)
}

// Stats returns the counters at this moment.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	n := len(s.conns)
	s.mu.Unlock()
	st := Stats{
		Connections: n,
		Accepted:    s.stats.accepted.Load(), Refused: s.stats.refused.Load(), Closed: s.stats.closed.Load(),
		BytesIn: s.stats.bytesIn.Load(), BytesOut: s.stats.bytesOut.Load(), FrameBytes: s.frameBudget.inUse() + s.chunkBudget.inUse(), FetchBytes: s.fetchBudget.inUse(), FetchSessions: s.sessions.count(),
		Requests: map[int16]int64{},
	}
	for k := range s.stats.requests {
		if v := s.stats.requests[k].Load(); v > 0 {
			key := int16(-1)
			if k < apiPlaces {
				key = int16(apis[k].key)
			}
			st.Requests[key] = v
		}
	}
	return st
}

// logGate lets one log line a second pass, so that what happens at every request does not fill the log.
type logGate struct{ last atomic.Int64 }

func (g *logGate) allow(now int64) bool {
	last := g.last.Load()
	return now-last >= int64(janitorPeriod) && g.last.CompareAndSwap(last, now)
}
