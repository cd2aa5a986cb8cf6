package membership

import (
	"context"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// sink passes Raft's log lines to slog, one level down: what Raft reports as information is detail here.
type sink struct{ logger *slog.Logger }

func newRaftLogger(l *slog.Logger) hclog.Logger {
	il := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Info, Output: io.Discard})
	il.RegisterSink(sink{l})
	return il
}

// Accept writes one line.
func (s sink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case hclog.Warn:
		to = slog.LevelInfo
	case hclog.Error:
		to = slog.LevelWarn
	}
	if s.logger.Enabled(context.Background(), to) {
		s.logger.Log(context.Background(), to, "raft: "+msg, args...)
	}
}
