package membership

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Raft says with every attempt that a member cannot be reached; the log says it once a minute for each member.
func TestRaftDoesNotRepeatItself(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	s := &sink{logger: slog.New(slog.NewTextHandler(&out, nil)), now: func() time.Time { return now }, said: map[string]time.Time{}}
	for range 100 {
		for _, peer := range []string{"b", "c"} {
			s.Accept("", hclog.Error, "failed to heartbeat to", "peer", peer, "backoff time", "1s")
		}
		now = now.Add(time.Second)
	}
	if n := strings.Count(out.String(), "failed to heartbeat"); n != 4 {
		t.Errorf("%d lines in 100 seconds about two members:\n%s", n, out.String())
	}
}
