package wal

import (
	"fmt"
	"time"

	"github.com/chronik-io/chronik/internal/vfs"
)

// Inspect reads a log that no process has open as Open would, and changes nothing: what recovery would repair is only reported. Records
// are handed out by the same code in the same order.
func Inspect(o Options, replay func(Record) error) (*Recovery, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("inspect log %s: %w", o.Dir, err)
	}
	o.FS = vfs.ReadOnly(o.FS)
	began := time.Now()
	r := &recovery{w: &WAL{o: o, log: o.Logger}, replay: replay}
	defer func() {
		for _, f := range r.files {
			if f.f != nil {
				_ = f.f.Close()
			}
		}
	}()
	err = r.openFiles()
	if err == nil {
		err = r.buildChain()
	}
	if err == nil && r.fresh {
		r.rec.Fresh = true
	} else if err == nil {
		err = r.scanChain()
	}
	if err != nil {
		return nil, fmt.Errorf("inspect log %s: %w", o.Dir, err)
	}
	r.rec.Elapsed = time.Since(began)
	return &r.rec, nil
}
