package node

import (
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-io/chronik/internal/vfs"
)

// measuredDisk passes everything on to a file system and measures its syncs, which is where the time of a commit goes.
type measuredDisk struct {
	vfs.FS
	dir   string // data directory
	syncs *prometheus.HistogramVec
}

func newMeasuredDisk(on vfs.FS, dir string) *measuredDisk {
	return &measuredDisk{FS: on, dir: dir, syncs: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: metricPrefix + "sync_seconds", Help: "time of one sync to disk: wal, metadata, topics (segments)",
		Buckets: prometheus.ExponentialBuckets(50e-6, 2, 16),
	}, []string{"log"})}
}

// OpenFile opens a file whose syncs are measured under the name of its directory below the data directory.
func (d *measuredDisk) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	log := "other"
	if rest, err := filepath.Rel(d.dir, name); err == nil {
		if first, _, below := strings.Cut(filepath.ToSlash(rest), "/"); below {
			log = first
		}
	}
	return &measuredFile{File: f, syncs: d.syncs.WithLabelValues(log)}, nil
}

// measuredFile measures the syncs of one file.
type measuredFile struct {
	vfs.File
	syncs prometheus.Observer
}

// Sync implements vfs.File.
func (f *measuredFile) Sync() error {
	begin := time.Now()
	err := f.File.Sync()
	f.syncs.Observe(time.Since(begin).Seconds())
	return err
}
