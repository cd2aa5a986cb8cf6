package membership

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// saidAgain is how long a line about a member that cannot be reached, which Raft writes with every attempt, is not repeated.
	saidAgain = time.Minute
	// saidMost bounds the lines that are remembered.
	saidMost = 256
)

// sink passes Raft's log lines to slog, one level down: what Raft reports as information is detail here.
type sink struct {
	logger *slog.Logger
	now    func() time.Time

	mu   sync.Mutex           // guards said
	said map[string]time.Time // warnings and errors by text and member
}

func newRaftLogger(l *slog.Logger) hclog.Logger {
	il := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Info, Output: io.Discard})
	il.RegisterSink(&sink{logger: l, now: time.Now, said: map[string]time.Time{}})
	return il
}

// Accept writes one line.
func (s *sink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case hclog.Warn:
		to = slog.LevelInfo
	case hclog.Error:
		to = slog.LevelWarn
	}
	if to > slog.LevelDebug && s.repeats(msg, args) {
		to = slog.LevelDebug
	}
	if s.logger.Enabled(context.Background(), to) {
		s.logger.Log(context.Background(), to, "raft: "+msg, args...)
	}
}

// repeats reports whether the same was said of the same member a short time ago.
func (s *sink) repeats(msg string, args []any) bool {
	key := msg
	for i := 0; i+1 < len(args); i += 2 {
		if name, ok := args[i].(string); ok && (name == "peer" || name == "target" || name == "id") {
			key += fmt.Sprint("|", args[i+1])
		}
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.said[key]; ok && now.Sub(last) < saidAgain {
		return true
	}
	if len(s.said) >= saidMost {
		clear(s.said)
	}
	s.said[key] = now
	return false
}
