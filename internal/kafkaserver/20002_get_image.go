package kafkaserver

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	add(&api{key: kmsg.Key(chronikapi.GetImage), private: true, raw: (*Server).getImage})
}

func init() { mapErrors(errorMapping{errImageTooLarge, kerr.MessageTooLarge}) }

var errImageTooLarge = errors.New("image too large for one response")

// getImage sends the newest image at or below an offset. One is made at a time, and its bytes are taken from the budget of fetch
// responses, so that any number of clients that ask and do not read cost no more than that.
func (s *Server) getImage(r *request, body []byte) error {
	var req chronikapi.GetImageRequest
	req.SetVersion(r.version)
	if err := req.ReadFrom(body); err != nil {
		return errBody
	}
	c := r.conn
	c.serving.Store(true)
	buf, err := s.imageResponse(r, &req)
	c.serving.Store(false)
	c.lastActive.Store(s.now.Load())
	if err != nil {
		return err
	}
	c.out.completeBlocking(r.slot, buf)
	return nil
}

func (s *Server) imageResponse(r *request, req *chronikapi.GetImageRequest) (*buffer, error) {
	select {
	case s.imaging <- struct{}{}:
		defer func() { <-s.imaging }()
	case <-r.ctx.Done():
		return nil, errPeerGone
	}
	a := apis[apiPlace(chronikapi.GetImage)]
	resp := req.ResponseKind().(*chronikapi.GetImageResponse)
	if err := s.fillImage(resp, req.Offset); err != nil {
		resp = req.ResponseKind().(*chronikapi.GetImageResponse)
		resp.Offset = chronikapi.None
		resp.ErrorCode, resp.ErrorMessage = errorCode(err), err.Error()
		return encode(a, r, resp), nil
	}
	cost := int64(len(resp.Image))
	if s.fetchBudget.take(r.ctx, cost) != nil {
		return nil, errPeerGone
	}
	buf := encode(a, r, resp)
	buf.taken, buf.cost = s.fetchBudget, cost
	return buf, nil
}

func (s *Server) fillImage(resp *chronikapi.GetImageResponse, offset int64) error {
	im, err := s.deps.Meta.ImageAt(offset)
	if err != nil {
		return err
	}
	shown, redacted := im.Redacted()
	var b bytes.Buffer
	if err := shown.Encode(&b); err != nil {
		return fmt.Errorf("encode image at %d: %w", im.Offset(), err)
	}
	if b.Len() > chronikapi.MaxImageBytes {
		return fmt.Errorf("image at %d: %w: %d bytes", im.Offset(), errImageTooLarge, b.Len())
	}
	resp.Offset, resp.Hash, resp.Redacted, resp.Image = im.Offset(), im.Hash().Bytes(), int32(redacted), b.Bytes()
	return nil
}
