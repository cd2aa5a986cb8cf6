package partition

import (
	"container/list"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/chronik-io/chronik/internal/vfs"
)

// segmentFiles are the open files of a segment. They stay open while somebody uses them, and after that until others need the place.
type segmentFiles struct {
	seg   *segment
	log   vfs.File
	index vfs.File
	time  vfs.File

	refs int           // guarded by fileCache.mu
	elem *list.Element // in fileCache.idle while refs is 0; nil when forgotten
}

// fileCache bounds the open files of all segments.
type fileCache struct {
	fs  vfs.FS
	max int

	mu    sync.Mutex
	files map[*segment]*segmentFiles
	idle  list.List // least recently used first
}

func newFileCache(fsys vfs.FS, max int) *fileCache {
	return &fileCache{fs: fsys, max: max, files: map[*segment]*segmentFiles{}}
}

// defaultIndexInterval is used for indexes that are rebuilt by a reader, who does not know the topic's setting.
const defaultIndexInterval = 4096

// open returns the files of a segment, with its indexes checked. The caller releases them.
func (c *fileCache) open(s *segment) (*segmentFiles, error) {
	h, err := c.acquire(s, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if err := h.prepare(defaultIndexInterval); err != nil {
		c.release(h)
		return nil, err
	}
	return h, nil
}

// create makes the files of a new, empty segment.
func (c *fileCache) create(s *segment) (*segmentFiles, error) {
	s.prepared.Store(true)
	return c.acquire(s, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (c *fileCache) acquire(s *segment, flag int) (*segmentFiles, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.files[s]; h != nil {
		if h.refs == 0 {
			c.idle.Remove(h.elem)
		}
		h.refs++
		return h, nil
	}
	for len(c.files) >= c.max && c.idle.Len() > 0 {
		c.drop(c.idle.Front().Value.(*segmentFiles))
	}
	h := &segmentFiles{seg: s, refs: 1}
	var err error
	if h.log, err = c.fs.OpenFile(s.path+logSuffix, flag, 0o644); err == nil {
		if h.index, err = c.fs.OpenFile(s.path+indexSuffix, flag|os.O_CREATE, 0o644); err == nil {
			h.time, err = c.fs.OpenFile(s.path+timeSuffix, flag|os.O_CREATE, 0o644)
		}
	}
	if err != nil {
		h.close()
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", errSegmentGone, err)
		}
		return nil, fmt.Errorf("open segment %s: %w", s.path, err)
	}
	c.files[s] = h
	return h, nil
}

func (c *fileCache) release(h *segmentFiles) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.refs--; h.refs > 0 {
		return
	}
	if c.files[h.seg] != h { // forgotten meanwhile
		h.close()
		return
	}
	h.elem = c.idle.PushBack(h)
}

// drop closes idle files. The caller holds mu.
func (c *fileCache) drop(h *segmentFiles) {
	c.idle.Remove(h.elem)
	delete(c.files, h.seg)
	h.close()
}

// forget closes the files of a segment that is removed; users of them go on until they release them.
func (c *fileCache) forget(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.files[s]
	if h == nil {
		return
	}
	if h.refs == 0 {
		c.drop(h)
		return
	}
	delete(c.files, s)
}

func (c *fileCache) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s, h := range c.files {
		delete(c.files, s)
		if h.refs == 0 {
			h.close()
		}
	}
	c.idle.Init()
}

func (h *segmentFiles) close() {
	for _, f := range []vfs.File{h.log, h.index, h.time} {
		if f != nil {
			_ = f.Close() // what mattered was synced
		}
	}
}
