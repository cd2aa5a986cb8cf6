package top

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/chronik-io/chronik/internal/cli"
)

// A recording is one JSON object per line: a header, then inputs in the order they were seen. Version 1 had status and topics in one input,
// and no topics were null.
const (
	recordingFormat  = "chronik-top"
	recordingVersion = 2
	maxRecordedLine  = 64 << 20
)

// recordTo copies inputs into a file on their way. The returned channel is closed when inputs is.
func recordTo(w io.Writer, target string, inputs <-chan Input, onError func(error)) <-chan Input {
	out := make(chan Input, inputBound)
	go func() {
		defer close(out)
		bw := bufio.NewWriter(w)
		enc := json.NewEncoder(bw)
		failed := enc.Encode(Input{Header: &FileHeader{recordingFormat, recordingVersion, target}})
		for in := range inputs {
			if failed == nil {
				if failed = enc.Encode(in); failed == nil {
					failed = bw.Flush()
				}
				if failed != nil {
					onError(fmt.Errorf("write recording: %w", failed))
				}
			}
			out <- in
		}
	}()
	return out
}

// readRecording checks the header and returns a function that returns one input after the other, then io.EOF.
func readRecording(r io.Reader) (FileHeader, func() (Input, error), error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), maxRecordedLine)
	line, version := 0, 0
	next := func() (Input, error) {
		line++
		if !sc.Scan() {
			if err := sc.Err(); err != nil {
				return Input{}, fmt.Errorf("read recording line %d: %w", line, err)
			}
			return Input{}, io.EOF
		}
		var in Input
		if err := json.Unmarshal(sc.Bytes(), &in); err != nil {
			return Input{}, fmt.Errorf("read recording line %d: %w", line, err)
		}
		if version == 1 && in.Gauges != nil && in.Gauges.Topics == nil {
			in.Gauges.Topics = []TopicGauge{}
		}
		return in, nil
	}
	first, err := next()
	if err != nil || first.Header == nil || first.Header.Format != recordingFormat {
		return FileHeader{}, nil, cli.Failf("this is no recording of chronik-top")
	}
	if first.Header.Version < 1 || first.Header.Version > recordingVersion {
		return FileHeader{}, nil, cli.Failf("this recording has version %d; this build reads up to %d", first.Header.Version, recordingVersion)
	}
	version = first.Header.Version
	return *first.Header, next, nil
}

// replay sends a recording with its own pauses, divided by speed. It returns when the recording has ended.
func replay(ctx context.Context, next func() (Input, error), speed float64, inputs chan<- Input) error {
	var last time.Time
	for {
		in, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if wait := in.At.Sub(last); !last.IsZero() && wait > 0 && speed > 0 {
			if !pause(ctx, time.Duration(float64(wait)/speed)) {
				return ctx.Err()
			}
		}
		last = in.At
		select {
		case inputs <- in:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// openRecording opens a file for --replay.
func openRecording(path string) (*os.File, FileHeader, func() (Input, error), error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, FileHeader{}, nil, cli.Failf("open recording: %v", err)
	}
	h, next, err := readRecording(f)
	if err != nil {
		f.Close()
		return nil, h, nil, err
	}
	return f, h, next, nil
}
