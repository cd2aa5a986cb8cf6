package metalog

import (
	"bytes"
	"fmt"
	"time"
)

// imageThreshold is after how many bytes of entries an image is due: never more often than it is large.
func (o *owner) imageThreshold() int64 { return max(o.l.o.ImageBytes, o.imageSize) }

// considerImage asks for an image when one is due. It is made on the applier, which has just what it must hold.
func (o *owner) considerImage() {
	if o.imaging || o.sinceImage < o.imageThreshold() || o.core.commit <= o.core.image.End || o.handed != o.core.commit {
		return
	}
	meta, ok := o.core.MetaAt()
	if !ok {
		return
	}
	o.imaging, o.sinceImage = true, 0
	o.give(applyItem{save: &meta})
}

// save writes the current image on a goroutine of its own; an image never changes.
func (a *applier) save(meta ImageMeta) {
	l, im := a.l, a.l.image.Load()
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		var b bytes.Buffer
		err := im.Encode(&b)
		if err == nil && im.Offset() != meta.At.End-1 {
			err = fmt.Errorf("save image: %w: it is at offset %d instead of %d", errChain, im.Offset(), meta.At.End-1)
		}
		var ends []int64
		if err == nil {
			ends, err = l.storage.saveImage(&ImageFile{Meta: meta, Data: b.Bytes()})
		}
		l.do(func(o *owner) { o.imageSaved(meta.At, int64(b.Len()), ends, err) })
	}()
}

func (o *owner) imageSaved(at Position, size int64, ends []int64, err error) {
	o.imaging = false
	if err != nil {
		o.core.halt("%v", err)
		return
	}
	o.imageSize = size
	o.core.ImageSaved(at)
	o.l.o.Logger.Info("metadata image saved", "end", at.End, "bytes", size)
	if len(ends) >= imagesKept && !o.carry {
		if o.recycleSeq = o.l.storage.recyclable(ends[imagesKept-1], &o.l.o); o.recycleSeq > 0 {
			o.carry = true
			o.core.Carry()
		}
	}
}

// recycled gives old files back, now that promise and fault mark are durable in a newer one.
func (o *owner) recycled() {
	seq := o.recycleSeq
	o.carry, o.carryBatch, o.recycleSeq = false, 0, 0
	s := o.l.storage
	if err := s.wal.Recycle(seq); err != nil {
		o.core.halt("recycle metadata log: %v", err)
		return
	}
	s.index.recycle(seq)
	if start, ok := s.index.start(); ok {
		o.core.Recycled(start)
	}
}

// recyclable is the last commit sequence whose slot may be given back: all its entries are below keep, and history is long enough
// without it. 0: none.
func (s *storage) recyclable(keep int64, o *Options) uint64 {
	usage := s.wal.Usage()
	used, seq := usage.UsedBytes, uint64(0)
	for _, slot := range s.wal.Slots() {
		end, ms, ok := s.index.endOf(slot.LastSeq)
		if !slot.Sealed || !ok || end > keep {
			break
		}
		old := ms > 0 && time.Since(time.UnixMilli(ms)) > historyAge
		if !usage.NoSpace && (used <= o.HistoryBytes || !old && used <= historyFactor*o.HistoryBytes) {
			break
		}
		used -= o.SlotBytes
		seq = slot.LastSeq
	}
	return seq
}

// readImage answers a request for the newest image from its file.
func (o *owner) readImage(r ImageRequest) {
	l := o.l
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		file, err := l.storage.newestFile()
		if err != nil {
			l.o.Logger.Warn("metadata log: no image to send", "member", r.To.NodeID, "err", err)
		}
		l.do(func(o *owner) { o.core.ImageRead(r, file) })
	}()
}

// storeImage makes an image from another member durable, before the log is replaced by it.
func (o *owner) storeImage(file *ImageFile) {
	l := o.l
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		_, err := file.image()
		if err == nil {
			err = l.storage.stageImage(file)
		}
		l.do(func(o *owner) {
			if err != nil {
				o.core.halt("%v", err)
				return
			}
			o.stored = file
			o.core.ImageStored()
		})
	}()
}

// installed puts the image stored last in the place of everything before it.
func (o *owner) installed(meta *ImageMeta) {
	if o.stored == nil || o.stored.Meta.At != meta.At {
		o.core.halt("I12: no image at %d", meta.At.End)
		return
	}
	if _, err := o.l.storage.promoteStaged(meta.At.End); err != nil {
		o.core.halt("%v", err)
		return
	}
	o.give(applyItem{from: o.handed, end: meta.At.End, install: o.stored})
	o.handed, o.stored = meta.At.End, nil
	o.sinceImage = 0
}
