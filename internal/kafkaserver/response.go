package kafkaserver

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxSizeHint bounds what the size of one response makes the next one's buffer.
const maxSizeHint = 1 << 20

// encode writes a response with its frame and header.
func encode(a *api, r *request, resp kmsg.Response) *buffer {
	resp.SetVersion(r.version)
	buf := getBuffer(int(min(a.lastSize.Load(), maxSizeHint)))
	b := appendResponseHeader(buf.b, r.corrID, resp.IsFlexible() && r.key != int16(kmsg.ApiVersions))
	b = resp.AppendTo(b)
	buf.b = finishFrame(b)
	a.lastSize.Store(int64(len(b)))
	return buf
}

// appendResponseHeader begins a response frame; finishFrame sets its length. ApiVersions has no tags in its header in any version, for
// clients that do not know yet what the broker speaks.
func appendResponseHeader(b []byte, corrID int32, tags bool) []byte {
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(corrID))
	if tags {
		b = append(b, 0)
	}
	return b
}

// finishFrame sets the length prefix of a frame that begins at b[0].
func finishFrame(b []byte) []byte {
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}
