package metaclient

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/chronik-io/chronik/internal/metadata"
)

// NodeInfo asks one node how it is; hashAt is the entry whose hash is wanted, chronikapi.None for none. A broker that is not Chronik's
// does not know the request: the error is not one of the connection.
func (c *Client) NodeInfo(ctx context.Context, id int32, hashAt int64) (*chronikapi.NodeInfoResponse, error) {
	resp, err := c.broker(id).Request(ctx, &chronikapi.NodeInfoRequest{HashAt: hashAt})
	if err != nil {
		return nil, err
	}
	info := resp.(*chronikapi.NodeInfoResponse)
	return info, kerr.ErrorForCode(info.ErrorCode)
}

// NodeStats asks one node how much it does.
func (c *Client) NodeStats(ctx context.Context, id int32) (*chronikapi.NodeStatsResponse, error) {
	resp, err := c.broker(id).Request(ctx, &chronikapi.NodeStatsRequest{})
	if err != nil {
		return nil, err
	}
	stats := resp.(*chronikapi.NodeStatsResponse)
	return stats, kerr.ErrorForCode(stats.ErrorCode)
}

// BaseImage is the newest image at or below an offset that a node has, with the hash that the node computed.
type BaseImage struct {
	Image *metadata.Image
	// Hash is of the image on the node. It is another one than Image's only if secrets were replaced.
	Hash     metadata.Hash
	Redacted int
}

// GetImage reads the newest image at or below an offset that the asked broker has.
func (c *Client) GetImage(ctx context.Context, offset int64) (*BaseImage, error) {
	resp, err := c.kafka.Request(ctx, &chronikapi.GetImageRequest{Offset: offset})
	if err != nil {
		return nil, Explain("read the image", err)
	}
	r := resp.(*chronikapi.GetImageResponse)
	if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
		return nil, Explain(fmt.Sprintf("read the image at %d", offset), err)
	}
	im, err := metadata.Decode(bytes.NewReader(r.Image))
	if err != nil {
		return nil, fmt.Errorf("read the image at %d: %w", r.Offset, err)
	}
	b := &BaseImage{Image: im, Hash: metadata.HashFromBytes(r.Hash), Redacted: int(r.Redacted)}
	if b.Redacted == 0 && b.Hash != im.Hash() {
		return nil, fmt.Errorf("read the image at %d: the node says its hash is %s, and it is %s", r.Offset, b.Hash, im.Hash())
	}
	return b, nil
}

// takeInfo puts into a node's row what it says of itself.
func (n *Node) takeInfo(info *chronikapi.NodeInfoResponse) {
	n.info = info
	n.Version, n.Disk, n.UptimeMs = info.SoftwareVersion, hex.EncodeToString(info.DiskID[:]), info.UptimeMs
	n.LogRole = info.Role
	n.MetadataOffset, n.ImageHash, n.ImageOffset = info.Applied, hex.EncodeToString(info.ImageHash[:]), info.ImageOffset
	if info.TotalBytes > 0 {
		n.FreeBytes, n.TotalBytes = info.FreeBytes, info.TotalBytes
	}
	n.DiskFull = info.DiskFull
}

// compareHashes asks all nodes that answered for the hash of one entry that all of them have: the last one before the smallest applied
// offset. Equal hashes there mean equal history; images at equal offsets are compared as well.
func (c *Client) compareHashes(ctx context.Context, f *facts) {
	at := chronikapi.None
	for _, n := range f.nodes {
		if n.info != nil && n.State == NodeUp && (at < 0 || n.info.Applied-1 < at) {
			at = n.info.Applied - 1
		}
	}
	if at < 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, nodeProbeTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, n := range f.nodes {
		if n.info == nil || n.State != NodeUp {
			continue
		}
		wg.Go(func() {
			if info, err := c.NodeInfo(ctx, n.ID, at); err == nil && info.EntryOffset == at {
				n.HashOffset, n.EntryHash = at, hex.EncodeToString(info.EntryHash[:])
			}
		})
	}
	wg.Wait()
}

// Uptime is how long the node has run, negative if it does not say.
func (n *Node) Uptime() time.Duration { return time.Duration(n.UptimeMs) * time.Millisecond }
