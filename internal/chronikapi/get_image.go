package chronikapi

import "github.com/twmb/franz-go/pkg/kmsg"

// MaxImageBytes bounds an image in a response; it is less than what clients accept as a response (100 MiB in franz-go).
const MaxImageBytes = 64 << 20

// GetImageRequest asks for the newest image of the metadata that a node has at or below an offset. With the entries behind it any later
// image can be made.
type GetImageRequest struct {
	versioned
	// Offset is of the last entry that the image may hold; -1 is the image before the first entry.
	Offset int64
}

// Key is GetImage.
func (*GetImageRequest) Key() int16 { return GetImage }

// ResponseKind is an empty response.
func (r *GetImageRequest) ResponseKind() kmsg.Response {
	return &GetImageResponse{versioned: r.versioned}
}

func (r *GetImageRequest) fields(w *wire) { w.i64(&r.Offset) }

// AppendTo writes the request.
func (r *GetImageRequest) AppendTo(b []byte) []byte { return appendMessage(b, r.Version, r) }

// ReadFrom reads a request.
func (r *GetImageRequest) ReadFrom(b []byte) error {
	return readMessage("GetImage request", b, r.Version, r)
}

// GetImageResponse holds an image as a snapshot of internal/metadata.
type GetImageResponse struct {
	versioned
	ErrorCode    int16
	ErrorMessage string
	// Offset is of the last entry in the image, Hash the hash of the image on the node.
	Offset int64
	Hash   [16]byte
	// Redacted is how many secrets were replaced. If it is not 0, the image below has another hash than Hash.
	Redacted int32
	Image    []byte
}

// Key is GetImage.
func (*GetImageResponse) Key() int16 { return GetImage }

// RequestKind is an empty request.
func (r *GetImageResponse) RequestKind() kmsg.Request {
	return &GetImageRequest{versioned: r.versioned}
}

func (r *GetImageResponse) fields(w *wire) {
	w.i16(&r.ErrorCode)
	w.string(&r.ErrorMessage)
	w.i64(&r.Offset)
	w.id(&r.Hash)
	w.i32(&r.Redacted)
	w.bytes(&r.Image)
}

// AppendTo writes the response.
func (r *GetImageResponse) AppendTo(b []byte) []byte { return appendMessage(b, r.Version, r) }

// ReadFrom reads a response. Image is a part of b.
func (r *GetImageResponse) ReadFrom(b []byte) error {
	return readMessage("GetImage response", b, r.Version, r)
}
