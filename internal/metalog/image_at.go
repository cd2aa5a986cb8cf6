package metalog

import (
	"fmt"

	"github.com/chronik-io/chronik/internal/metadata"
)

// ImageAt is the newest image at or below an offset that is at hand: the one in memory, an image file, or the empty one before the first
// entry. The entries behind it make any later image. ErrOffsetOutOfRange means that all images that are kept are newer.
func (l *Log) ImageAt(offset int64) (*metadata.Image, error) {
	if im := l.Image(); im.Offset() <= offset {
		return im, nil
	}
	s := l.storage
	s.imageMu.Lock()
	defer s.imageMu.Unlock()
	ends, err := listImages(s.fs, s.dir)
	if err != nil {
		return nil, err
	}
	for _, end := range ends {
		if end-1 > offset {
			continue
		}
		_, im, err := loadImage(s.fs, s.dir, end)
		if err != nil {
			l.o.Logger.Error("metadata log: image not readable, taking the one before", "end", end, "err", err)
			continue
		}
		return im, nil
	}
	if l.StartOffset() == 0 && offset >= -1 {
		return metadata.Empty(), nil
	}
	return nil, fmt.Errorf("image at or below %d: %w", offset, ErrOffsetOutOfRange)
}
