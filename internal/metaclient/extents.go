package metaclient

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Timestamps that ListOffsets understands as places.
const (
	placeEnd   = -1
	placeStart = -2
)

// Extent is where a partition's records begin and end: the log start offset, and the one after the last record that a consumer may read.
type Extent struct{ Start, End int64 }

// Extents are the extents that were told, by topic and partition.
type Extents map[string]map[int32]Extent

// Extents asks the leaders of partitions for their extents: all leaders at once, each for at most nodeProbeTimeout, so that one which is silent
// costs its own partitions only. A partition whose leader did not tell, or that has none, is missing. The error is the first one; it does not
// mean that there are no extents.
func (c *Client) Extents(ctx context.Context, partitions []PartitionStatus) (Extents, error) {
	byLeader := map[int32]map[string][]int32{}
	for _, p := range partitions {
		if p.Leader < 0 {
			continue
		}
		if byLeader[p.Leader] == nil {
			byLeader[p.Leader] = map[string][]int32{}
		}
		byLeader[p.Leader][p.Topic] = append(byLeader[p.Leader][p.Topic], p.Partition)
	}
	ctx, cancel := context.WithTimeout(ctx, nodeProbeTimeout)
	defer cancel()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // guards out and first
		out   = Extents{}
		first error
	)
	for leader, topics := range byLeader {
		wg.Go(func() {
			got, err := c.extentsOf(ctx, leader, topics)
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = err
			}
			for t, byPartition := range got {
				if out[t] == nil {
					out[t] = byPartition
					continue
				}
				for p, s := range byPartition {
					out[t][p] = s
				}
			}
		})
	}
	wg.Wait()
	return out, Explain("read offsets", first)
}

// extentsOf asks one leader for both places of its partitions.
func (c *Client) extentsOf(ctx context.Context, leader int32, topics map[string][]int32) (Extents, error) {
	var ends map[string]map[int32]int64
	var endErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		ends, endErr = c.listOffsets(ctx, leader, topics, placeEnd)
	}()
	starts, err := c.listOffsets(ctx, leader, topics, placeStart)
	<-done
	if err == nil {
		err = endErr
	}
	out := Extents{}
	for t, byPartition := range ends {
		for p, end := range byPartition {
			if start, ok := starts[t][p]; ok {
				if out[t] == nil {
					out[t] = make(map[int32]Extent, len(byPartition))
				}
				out[t][p] = Extent{start, end}
			}
		}
	}
	return out, err
}

// listOffsets asks one broker for one place of partitions that it leads. The error is of the request, or else the first of a partition.
func (c *Client) listOffsets(ctx context.Context, leader int32, topics map[string][]int32, place int64) (map[string]map[int32]int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	for t, partitions := range topics {
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = t
		for _, p := range partitions {
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp = p, place
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	answer, err := c.broker(leader).Request(ctx, req)
	if err != nil {
		return nil, err
	}
	out := map[string]map[int32]int64{}
	for _, t := range answer.(*kmsg.ListOffsetsResponse).Topics {
		out[t.Topic] = make(map[int32]int64, len(t.Partitions))
		for _, p := range t.Partitions {
			if e := kerr.ErrorForCode(p.ErrorCode); e == nil {
				out[t.Topic][p.Partition] = p.Offset
			} else if err == nil {
				err = e
			}
		}
	}
	return out, err
}
