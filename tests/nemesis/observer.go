package nemesis

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/chronik-io/chronik/internal/metaclient"
	"github.com/chronik-io/chronik/internal/metadata"
)

// askWithin bounds a question to one node.
const askWithin = time.Second

// Observer asks the nodes of a cluster what they hold, each by itself.
type Observer struct {
	nodes []*kgo.Client

	mu     sync.Mutex // guards the rest
	hashes map[int64]seenHash
	asked  int // answers with an image
	equal  int // of them, those that could be compared with another node's
	differ []string
}

type seenHash struct {
	hash [16]byte
	node int
}

// NewObserver makes an observer for the nodes at the addresses.
func NewObserver(addresses []string) (*Observer, error) {
	o := &Observer{hashes: map[int64]seenHash{}}
	for _, a := range addresses {
		opts, err := metaclient.BaseOptions("chronik-nemesis", metaclient.Target{Bootstrap: []string{a}})
		if err != nil {
			return nil, err
		}
		c, err := kgo.NewClient(append(opts, kgo.DialTimeout(askWithin))...)
		if err != nil {
			return nil, err
		}
		o.nodes = append(o.nodes, c)
	}
	return o, nil
}

// Close closes the connections.
func (o *Observer) Close() {
	for _, c := range o.nodes {
		c.Close()
	}
}

// Info asks a node, and compares its image's hash with what any node said of its own at that offset.
func (o *Observer) Info(ctx context.Context, node int) (*chronikapi.NodeInfoResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	resp, err := o.nodes[node].SeedBrokers()[0].Request(ctx, chronikapi.NewNodeInfoRequest())
	if err != nil {
		return nil, err
	}
	info := resp.(*chronikapi.NodeInfoResponse)
	if err := kerr.ErrorForCode(info.ErrorCode); err != nil {
		return nil, err
	}
	o.note(node, info)
	return info, nil
}

func (o *Observer) note(node int, info *chronikapi.NodeInfoResponse) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	seen, ok := o.hashes[info.ImageOffset]
	switch {
	case !ok:
		o.hashes[info.ImageOffset] = seenHash{info.ImageHash, node}
	case seen.hash != info.ImageHash:
		o.differ = append(o.differ, fmt.Sprintf("image at offset %d: hash %x on node %d, %x on node %d",
			info.ImageOffset, seen.hash, seen.node+1, info.ImageHash, node+1))
	case seen.node != node:
		o.equal++
	}
}

// Compared is how many images the nodes told of, how many of them could be compared with another node's at the same offset, and which
// differed.
func (o *Observer) Compared() (asked, compared int, differ []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked, o.equal, o.differ
}

// Infos asks all nodes at once; nil for those that do not answer.
func (o *Observer) Infos(ctx context.Context) []*chronikapi.NodeInfoResponse {
	all := make([]*chronikapi.NodeInfoResponse, len(o.nodes))
	var wg sync.WaitGroup
	for i := range o.nodes {
		wg.Go(func() {
			if info, err := o.Info(ctx, i); err == nil {
				all[i] = info
			}
		})
	}
	wg.Wait()
	return all
}

// Controller is the index of the node that leads the metadata log, of two that believe it that of the higher ballot; -1 for none.
func (o *Observer) Controller(ctx context.Context) int {
	best, term := -1, int64(-1)
	for i, info := range o.Infos(ctx) {
		if info != nil && info.Role == "leader" && info.BallotTerm > term {
			best, term = i, info.BallotTerm
		}
	}
	return best
}

// Watch asks all nodes again and again until ctx is done.
func (o *Observer) Watch(ctx context.Context, every time.Duration) {
	for ctx.Err() == nil {
		o.Infos(ctx)
		_ = sleep(ctx, every) // the loop's condition sees it
	}
}

// Settle waits until all nodes hold the same image, that of all there is, and nothing has changed for a while. It returns the image of
// each node.
func (o *Observer) Settle(ctx context.Context, quiet time.Duration) ([]*metadata.Image, error) {
	since, at := time.Now(), int64(-1)
	for {
		infos := o.Infos(ctx)
		if offset, ok := settled(infos); !ok || offset != at {
			since, at = time.Now(), offset
		} else if time.Since(since) >= quiet {
			images, moved, err := o.images(ctx, infos, at)
			if err != nil {
				return nil, err
			}
			if !moved {
				return images, nil
			}
			since, at = time.Now(), -1
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, fmt.Errorf("nodes do not come to rest: %s: %w", positions(infos), err)
		}
	}
}

// images reads each node's image at an offset; moved if a node has gone on meanwhile.
func (o *Observer) images(ctx context.Context, infos []*chronikapi.NodeInfoResponse, at int64) (images []*metadata.Image, moved bool, err error) {
	for i, in := range infos {
		im, err := o.Image(ctx, i, at)
		if err != nil {
			return nil, false, fmt.Errorf("image of node %d at %d: %w", i+1, at, err)
		}
		if im.Offset() != at {
			return nil, true, nil
		}
		if im.Hash().Bytes() != in.ImageHash {
			return nil, false, fmt.Errorf("node %d says its image at %d has hash %x, and sends one with %s", i+1, at, in.ImageHash, im.Hash())
		}
		images = append(images, im)
	}
	return images, false, nil
}

// settled is whether all nodes show all entries, and up to which offset. Offsets in a NodeInfo but ImageOffset are ends.
func settled(infos []*chronikapi.NodeInfoResponse) (offset int64, ok bool) {
	offset = -1
	for _, in := range infos {
		if in == nil || in.End != in.Commit || in.Applied != in.Commit || in.ImageOffset != in.Commit-1 || in.Leader < 0 {
			return -1, false
		}
		if offset >= 0 && in.ImageOffset != offset {
			return -1, false
		}
		offset = in.ImageOffset
	}
	return offset, true
}

func positions(infos []*chronikapi.NodeInfoResponse) string {
	s := ""
	for i, in := range infos {
		if in == nil {
			s += fmt.Sprintf("[node %d: no answer]", i+1)
			continue
		}
		s += fmt.Sprintf("[node %d: %s of %d, term %d, end %d, commit %d, image %d]", i+1, in.Role, in.Leader, in.BallotTerm, in.End, in.Commit, in.ImageOffset)
	}
	return s
}

// Image reads a node's image at an offset.
func (o *Observer) Image(ctx context.Context, node int, offset int64) (*metadata.Image, error) {
	resp, err := o.nodes[node].SeedBrokers()[0].Request(ctx, &chronikapi.GetImageRequest{Offset: offset})
	if err != nil {
		return nil, err
	}
	r := resp.(*chronikapi.GetImageResponse)
	if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
		return nil, fmt.Errorf("%w: %s", err, r.ErrorMessage)
	}
	return metadata.Decode(bytes.NewReader(r.Image))
}

// AwaitAll waits until all nodes answer and follow the same leader, and returns who that is.
func (o *Observer) AwaitAll(ctx context.Context, within time.Duration) (leader int32, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		infos := o.Infos(ctx)
		if leader, ok := agreed(infos); ok {
			return leader, nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return -1, fmt.Errorf("nodes do not follow one leader: %s: %w", positions(infos), err)
		}
	}
}

func agreed(infos []*chronikapi.NodeInfoResponse) (leader int32, ok bool) {
	leader = -1
	for _, in := range infos {
		if in == nil || in.Leader < 0 || leader >= 0 && in.Leader != leader {
			return -1, false
		}
		leader = in.Leader
	}
	return leader, true
}
