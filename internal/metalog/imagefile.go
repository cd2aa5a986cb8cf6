package metalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/vfs"
)

const (
	imageMagic  = "CHRKMIM1"
	imagePrefix = "image-"
	imageSuffix = ".img"
	stagedName  = "staged.img"
	// imagesKept is how many image files stay: when the newest cannot be read, the one before and the log do.
	imagesKept = 2
	// maxLineage and maxVoters bound what a damaged length can make a reader allocate.
	maxLineage = 1 << 20
	maxVoters  = 64
)

// encodeImageFile writes an image with its place in the log; the table is in README.md.
func encodeImageFile(f *ImageFile) []byte {
	b := make([]byte, 0, 256+16*len(f.Meta.Lineage)+len(f.Data))
	b = append(b, imageMagic...)
	b = appendPosition(b, f.Meta.At)
	b = binary.BigEndian.AppendUint64(b, uint64(f.Meta.Voters.Offset))
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.Meta.Voters.Members)))
	for _, m := range f.Meta.Voters.Members {
		b = appendMember(b, m)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.Meta.Lineage)))
	for _, s := range f.Meta.Lineage {
		b = binary.BigEndian.AppendUint64(b, s.Epoch)
		b = binary.BigEndian.AppendUint64(b, uint64(s.Start))
	}
	b = binary.BigEndian.AppendUint64(b, uint64(len(f.Data)))
	b = append(b, f.Data...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeImageFile reads an image file. Data points into b.
func decodeImageFile(b []byte) (*ImageFile, error) {
	bad := func(what string) error { return fmt.Errorf("decode image: %w: %s", errMalformed, what) }
	if len(b) < len(imageMagic)+positionSize+8+4+4+8+4 || string(b[:8]) != imageMagic {
		return nil, bad("header")
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[len(body):]) {
		return nil, bad("checksum")
	}
	r := body[8:]
	f := &ImageFile{}
	f.Meta.At, r = decodePosition(r), r[positionSize:]
	f.Meta.Voters.Offset, r = int64(binary.BigEndian.Uint64(r)), r[8:]
	n := int(binary.BigEndian.Uint32(r))
	if r = r[4:]; n == 0 || n > maxVoters || len(r) < 20*n+4 {
		return nil, bad("voters")
	}
	for range n {
		f.Meta.Voters.Members, r = append(f.Meta.Voters.Members, decodeMember(r)), r[20:]
	}
	n = int(binary.BigEndian.Uint32(r))
	if r = r[4:]; n > maxLineage || len(r) < 16*n+8 {
		return nil, bad("lineage")
	}
	for range n {
		f.Meta.Lineage = append(f.Meta.Lineage, EpochSpan{binary.BigEndian.Uint64(r), int64(binary.BigEndian.Uint64(r[8:]))})
		r = r[16:]
	}
	if binary.BigEndian.Uint64(r) != uint64(len(r)-8) {
		return nil, bad("length")
	}
	f.Data = r[8:]
	return f, nil
}

func imageName(end int64) string { return fmt.Sprintf("%s%020d%s", imagePrefix, end, imageSuffix) }

// listImages lists the ends of the image files in a directory, newest first.
func listImages(fsys vfs.FS, dir string) ([]int64, error) {
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list images in %s: %w", dir, err)
	}
	var ends []int64
	for _, n := range names {
		digits, ok := strings.CutPrefix(n.Name(), imagePrefix)
		if !ok {
			continue
		}
		if digits, ok = strings.CutSuffix(digits, imageSuffix); !ok {
			continue // left over by a crash
		}
		if end, err := strconv.ParseInt(digits, 10, 64); err == nil {
			ends = append(ends, end)
		}
	}
	slices.Sort(ends)
	slices.Reverse(ends)
	return ends, nil
}

// saveImage makes an image durable as a file, removes all but the newest files, and returns the ends of those that stay.
func (s *storage) saveImage(f *ImageFile) ([]int64, error) {
	s.imageMu.Lock()
	defer s.imageMu.Unlock()
	name := filepath.Join(s.dir, imageName(f.Meta.At.End))
	if err := vfs.WriteFileAtomic(s.fs, name, encodeImageFile(f), 0o600); err != nil {
		return nil, fmt.Errorf("save image at %d: %w", f.Meta.At.End, err)
	}
	return s.pruneImages()
}

// stageImage makes an image from another member durable. It counts only once a Reset in the log names it.
func (s *storage) stageImage(f *ImageFile) error {
	s.imageMu.Lock()
	defer s.imageMu.Unlock()
	if err := vfs.WriteFileAtomic(s.fs, filepath.Join(s.dir, stagedName), encodeImageFile(f), 0o600); err != nil {
		return fmt.Errorf("stage image at %d: %w", f.Meta.At.End, err)
	}
	return nil
}

// stagedImage reads the staged image; nil if there is none, or none that can be read: then a Reset that names it fails the start.
func (s *storage) stagedImage() (*ImageFile, *metadata.Image) {
	b, err := vfs.ReadFile(s.fs, filepath.Join(s.dir, stagedName))
	if err != nil {
		return nil, nil
	}
	f, err := decodeImageFile(b)
	if err != nil {
		return nil, nil
	}
	im, err := f.image()
	if err != nil {
		return nil, nil
	}
	return f, im
}

// promoteStaged gives the staged image the name of an image in force.
func (s *storage) promoteStaged(end int64) ([]int64, error) {
	s.imageMu.Lock()
	defer s.imageMu.Unlock()
	if err := s.fs.Rename(filepath.Join(s.dir, stagedName), filepath.Join(s.dir, imageName(end))); err != nil {
		return nil, fmt.Errorf("promote image at %d: %w", end, err)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return nil, fmt.Errorf("promote image at %d: %w", end, err)
	}
	return s.pruneImages()
}

func metaOf(f *ImageFile) *ImageMeta {
	if f == nil {
		return nil
	}
	return &f.Meta
}

// pruneImages removes all but the newest files. imageMu is held.
func (s *storage) pruneImages() ([]int64, error) {
	ends, err := listImages(s.fs, s.dir)
	if err != nil {
		return nil, err
	}
	for len(ends) > imagesKept {
		end := ends[len(ends)-1]
		if err := s.fs.Remove(filepath.Join(s.dir, imageName(end))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove image at %d: %w", end, err)
		}
		ends = ends[:len(ends)-1]
	}
	return ends, nil
}

// newestFile reads the newest image file that can be read.
func (s *storage) newestFile() (*ImageFile, error) {
	s.imageMu.Lock()
	defer s.imageMu.Unlock()
	f, _, err := s.newestImage()
	if err == nil && f == nil {
		err = fmt.Errorf("read image: %w", fs.ErrNotExist)
	}
	return f, err
}

// loadImage reads and verifies one image file.
func loadImage(fsys vfs.FS, dir string, end int64) (*ImageFile, *metadata.Image, error) {
	b, err := vfs.ReadFile(fsys, filepath.Join(dir, imageName(end)))
	if err != nil {
		return nil, nil, fmt.Errorf("read image at %d: %w", end, err)
	}
	f, err := decodeImageFile(b)
	if err != nil {
		return nil, nil, fmt.Errorf("read image at %d: %w", end, err)
	}
	im, err := f.image()
	return f, im, err
}

// image is the metadata in the file.
func (f *ImageFile) image() (*metadata.Image, error) {
	im, err := metadata.Decode(bytes.NewReader(f.Data))
	if err != nil {
		return nil, fmt.Errorf("read image at %d: %w", f.Meta.At.End, err)
	}
	if im.Offset() != f.Meta.At.End-1 {
		return nil, fmt.Errorf("read image at %d: %w: it holds offset %d", f.Meta.At.End, errMalformed, im.Offset())
	}
	return im, nil
}
