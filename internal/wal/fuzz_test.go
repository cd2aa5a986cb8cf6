package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/vfs"
)

// fuzzBase is a small log over three slots that mutations start from.
var fuzzBase = sync.OnceValues(func() (*vfs.Mem, []stored) {
	o := fuzzOptions(vfs.NewMem())
	w, _, err := Open(o, func(Record) error { return nil })
	if err != nil {
		panic(err)
	}
	var records []stored
	for i := 0; len(w.Slots()) < 3 || i < 16; i++ {
		b := payload(uint64(i), 900)
		ref, err := w.Append(testKind, len(b), func(dst []byte) { copy(dst, b) }, nil, 0)
		if err != nil {
			panic(err)
		}
		records = append(records, stored{ref, b})
		if err := w.Sync(context.Background()); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return o.FS.(*vfs.Mem), records
})

func fuzzOptions(fsys vfs.FS) Options {
	o := testOptions(fsys)
	o.SlotBytes, o.MaxBytes, o.ZeroStep = 8*blockSize, 64*blockSize, blockSize
	o.RingBytes, o.ChunkBytes, o.SealAfter = 8*blockSize, 2*blockSize, -1
	return o
}

// mutate applies edits of 8 bytes each: {slot and flags, kind, position (2 bytes, in units of 4), value (4 bytes)}.
// With fix the checksums of all headers are made right again, so that the code behind them is reached.
func mutate(files [][]byte, edits []byte) (fixed bool) {
	for ; len(edits) >= 8; edits = edits[8:] {
		f := &files[int(edits[0])%len(files)]
		pos := int(binary.LittleEndian.Uint16(edits[2:])) * 4
		if edits[0]&0x80 != 0 && edits[1]%8 < 4 {
			pos = pos / 4 % 8 * blockSize // a header
			pos += int(edits[2]) % commitHeaderSize &^ 3
		}
		if pos+4 > len(*f) {
			pos = len(*f) &^ 3
		}
		switch edits[1] % 8 {
		case 0, 1, 2, 3:
			if pos+4 <= len(*f) {
				copy((*f)[pos:], edits[4:8])
			}
		case 4:
			*f = (*f)[:pos]
		case 5: // block copied from another place
			from := int(edits[4]) % 8 * blockSize
			to := pos &^ (blockSize - 1)
			g := files[int(edits[5])%len(files)]
			if from+blockSize <= len(g) && to+blockSize <= len(*f) {
				copy((*f)[to:to+blockSize], g[from:from+blockSize])
			}
		case 6:
			clear((*f)[pos:min(len(*f), pos+int(edits[4])*16)])
		case 7:
			fixed = true
			fixChecksums(*f)
		}
	}
	return fixed
}

func fixChecksums(f []byte) {
	le := binary.LittleEndian
	if len(f) >= slotHeaderSize {
		le.PutUint32(f[60:], crc(f[:60]))
	}
	for at := blockSize; at+blockSize <= len(f); at += blockSize {
		if le.Uint32(f[at:]) == commitMagic {
			le.PutUint32(f[at+60:], crc(f[at:at+60]))
		}
	}
}

// FuzzRecovery feeds damaged and arbitrary slot files to Open: never a panic, no more memory than the files' size calls
// for, and, as long as no checksum is forged, no record that was not appended.
func FuzzRecovery(f *testing.F) {
	f.Add([]byte{}, []byte{}, false)
	f.Add([]byte{0x80, 0, 8, 0, 0xff, 0xff, 0xff, 0xff, 0, 7, 0, 0, 0, 0, 0, 0}, []byte{}, true)
	f.Add([]byte{0x81, 1, 9, 0, 0xff, 0xff, 0xff, 0xff, 1, 7, 0, 0, 0, 0, 0, 0}, []byte{}, false)
	f.Add([]byte{2, 4, 0, 8, 0, 0, 0, 0}, []byte("no slot file at all"), true)
	f.Add([]byte{1, 5, 0, 4, 3, 0, 0, 0, 0, 6, 0, 9, 200, 0, 0, 0}, []byte{}, true)
	f.Fuzz(func(t *testing.T, edits, raw []byte, tolerant bool) {
		stuck := time.AfterFunc(10*time.Second, func() { panic("stuck") })
		defer stuck.Stop()
		base, records := fuzzBase()
		mem := base.CrashWith(func(n int) int { return n - 1 })
		files := make([][]byte, 3)
		for i := range files {
			b, err := vfs.ReadFile(mem, "wal/"+slotName(i))
			if err != nil {
				t.Fatal(err)
			}
			files[i] = b
		}
		forged := mutate(files, edits[:min(len(edits), 512)])
		if len(raw) > 0 {
			files = append(files, raw[:min(len(raw), 64<<10)])
			forged = forged || len(raw) >= slotHeaderSize
		}
		for i, b := range files {
			file, err := mem.OpenFile("wal/"+slotName(i), os.O_RDWR|os.O_CREATE, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			_ = file.Truncate(0)
			if _, err := file.WriteAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
		o := fuzzOptions(mem)
		if tolerant {
			o.OnFault = func(Fault) error { return nil }
		}
		var got []stored
		w, _, err := Open(o, func(r Record) error {
			got = append(got, stored{r.Ref, bytes.Clone(r.Payload)})
			return nil
		})
		if err != nil {
			return
		}
		positions := 0
		for _, s := range w.slots {
			positions += len(s.positions)
		}
		if positions > 8*len(files)+1 {
			t.Errorf("%d positions for %d blocks", positions, 8*len(files))
		}
		if !forged {
			missingRecords(t, "fuzz", got, records)
		}
		appendRecord(t, w, payload(1, 100), nil, 0)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
