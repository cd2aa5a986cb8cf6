package partition

import (
	"fmt"
	"testing"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/wal"
)

func dumpWAL(o StoreOptions) {
	wo := o.WAL
	wo.FS, wo.Dir = o.FS, "/data/wal"
	w, rec, err := wal.Open(wo, func(r wal.Record) error {
		p, rest, _ := parsePrefix(r.Payload)
		switch r.Kind {
		case kindState:
			st, _, err := decodeState(p, rest)
			fmt.Printf("seq %d STATE %d: start %d end %d hw %d segEnd %d active %v keep %d carried %d err %v\n", r.Ref.Seq, p.id.Partition, st.start, st.end, st.hw, st.segEnd, st.active, st.keepFrom, len(st.carried), err)
		case kindAppend:
			h, _ := recordbatch.ParseHeader(rest)
			fmt.Printf("seq %d APPEND %d: %d-%d\n", r.Ref.Seq, p.id.Partition, h.BaseOffset, h.LastOffset())
		default:
			fmt.Printf("seq %d kind %d part %d: %d\n", r.Ref.Seq, r.Kind, p.id.Partition, p.offset)
		}
		return nil
	})
	fmt.Printf("%+v %v\n", rec, err)
	if err == nil {
		fmt.Printf("%+v\n", w.Slots())
		w.Close()
	}
}

var _ testing.T
