package kafkaserver

import (
	"time"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/version"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.Key(chronikapi.NodeInfo), max: chronikapi.NewNodeInfoRequest().MaxVersion(), private: true}, (*Server).handleNodeInfo)
}

// handleNodeInfo says how this node is.
func (s *Server) handleNodeInfo(r *request, req *chronikapi.NodeInfoRequest) kmsg.Response {
	resp := req.ResponseKind().(*chronikapi.NodeInfoResponse)
	st := s.deps.Meta.Status()
	resp.ClusterID, resp.NodeID, resp.DiskID, resp.SoftwareVersion = s.deps.ClusterID, s.deps.NodeID, st.Self.DiskID, version.Version
	resp.UptimeMs = s.uptime().Milliseconds()
	s.describeDisk(resp)
	describeMetadataLog(resp, &st)
	im := s.image()
	resp.ImageOffset, resp.ImageHash = im.Offset(), im.Hash().Bytes()
	resp.EntryOffset = chronikapi.None
	if h, ok := s.entryHash(req.HashAt); ok {
		resp.EntryOffset, resp.EntryHash = req.HashAt, h
	}
	resp.Leaders, resp.Replicas = countPartitions(im, s.deps.NodeID)
	if s.deps.Peers != nil {
		resp.Peers = s.deps.Peers()
	}
	for _, d := range s.deps.Replicas.Damaged(chronikapi.MaxDamaged) {
		resp.Damaged = append(resp.Damaged, chronikapi.DamagedReplica{Topic: d.Replica.Topic(), Partition: d.Replica.ID().Partition, Error: d.Err.Error()})
	}
	return resp
}

func (s *Server) uptime() time.Duration { return time.Since(s.deps.Started) }

func (s *Server) describeDisk(resp *chronikapi.NodeInfoResponse) {
	resp.DataDir, resp.FreeBytes, resp.TotalBytes = s.deps.Config.DataDir, chronikapi.None, chronikapi.None
	if free, total, err := vfs.OS.FreeSpace(s.deps.Config.DataDir); err == nil {
		resp.FreeBytes, resp.TotalBytes = int64(free), int64(total)
	}
	resp.DiskFull, resp.MinFreeBytes = s.deps.Store.NoSpace(), s.deps.Config.MinFreeBytes
}

func describeMetadataLog(resp *chronikapi.NodeInfoResponse, st *metalog.Status) {
	resp.Role, resp.Voter, resp.Leader = st.Role.String(), st.Voters.Has(st.Self), -1
	if !st.Leader.DiskID.IsZero() {
		resp.Leader = st.Leader.NodeID
	}
	resp.Epoch, resp.BallotTerm, resp.BallotNode = int64(st.Epoch), int64(st.Ballot.Term), st.Ballot.Member.NodeID
	resp.Start, resp.Commit, resp.Applied, resp.End, resp.Durable, resp.Snapshot = st.Start, st.Commit, st.Applied, st.End, st.Durable, st.Snapshot
	resp.FaultFrom = chronikapi.None
	if st.Fault != nil {
		resp.FaultFrom = st.Fault.From
	}
}

// entryHash is the chain hash of a committed entry, if this node still has it.
func (s *Server) entryHash(offset int64) ([16]byte, bool) {
	if offset < 0 {
		return [16]byte{}, false
	}
	entries, _, err := s.deps.Meta.ReadEntries(offset, 1)
	if err != nil || len(entries) == 0 {
		return [16]byte{}, false
	}
	return entries[0].Hash, true
}

// countPartitions counts what a broker leads and holds.
func countPartitions(im *metadata.Image, id int32) (leaders, replicas int32) {
	for t := range im.Topics() {
		for _, p := range t.Partitions {
			if p.Leader == id {
				leaders++
			}
			if p.HasReplica(id) {
				replicas++
			}
		}
	}
	return leaders, replicas
}
