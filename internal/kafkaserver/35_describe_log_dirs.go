package kafkaserver

import (
	"slices"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.DescribeLogDirs, min: 1, max: 5}, (*Server).handleDescribeLogDirs)
}

// handleDescribeLogDirs lists the sizes of this broker's replicas in its one data directory.
func (s *Server) handleDescribeLogDirs(_ *request, req *kmsg.DescribeLogDirsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	im := s.image()
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir = s.deps.Config.DataDir
	if free, total, err := vfs.OS.FreeSpace(dir.Dir); err == nil {
		dir.TotalBytes, dir.UsableBytes = int64(total), int64(free)
	}
	if req.Topics == nil {
		for t := range im.Topics() {
			dir.Topics = s.addLogSizes(dir.Topics, t, nil)
		}
	}
	for i := range req.Topics {
		if t := im.Topic(req.Topics[i].Topic); t != nil {
			dir.Topics = s.addLogSizes(dir.Topics, t, req.Topics[i].Partitions)
		}
	}
	resp.Dirs = append(resp.Dirs, dir)
	return resp
}

// addLogSizes adds the replicas of one topic that this broker has; nil wanted means all.
func (s *Server) addLogSizes(topics []kmsg.DescribeLogDirsResponseDirTopic, t *metadata.Topic, wanted []int32) []kmsg.DescribeLogDirsResponseDirTopic {
	answer := kmsg.NewDescribeLogDirsResponseDirTopic()
	answer.Topic = t.Name
	for n := range t.Partitions {
		if wanted != nil && !slices.Contains(wanted, int32(n)) {
			continue
		}
		replica := s.deps.Replicas.Get(t.ID, int32(n))
		if replica == nil || replica.Log() == nil {
			continue
		}
		pieces, err := replica.Log().SegmentInfos()
		if err != nil {
			continue // a replica that cannot be read is none that can be described
		}
		p := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		p.Partition = int32(n)
		for _, piece := range pieces {
			p.Size += piece.Bytes
		}
		answer.Partitions = append(answer.Partitions, p)
	}
	if len(answer.Partitions) == 0 {
		return topics
	}
	return append(topics, answer)
}
