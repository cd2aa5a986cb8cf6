package kafkaserver

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/group"
	"github.com/chronik-io/chronik/internal/replica"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupReplicas is the group log over the replicas of a server under test.
type groupReplicas struct{ s *Server }

func (g groupReplicas) at(n int32) *replica.Replica {
	return g.s.deps.Replicas.Get(g.s.image().Topic(group.TopicName).ID, n)
}

func (g groupReplicas) Append(n, epoch int32, batch []byte, done func(error)) error {
	return g.at(n).AppendInternal(batch, epoch, done)
}

func (g groupReplicas) Bounds(n, epoch int32) (start, end int64, err error) {
	return g.at(n).Bounds(epoch)
}

func (g groupReplicas) AwaitHighWatermark(ctx context.Context, n, epoch int32, offset int64) error {
	return g.at(n).AwaitHighWatermark(ctx, epoch, offset)
}

func (g groupReplicas) Read(n, epoch int32, dst []byte, from int64, maxBytes int) ([]byte, error) {
	return g.at(n).ReadCommitted(epoch, dst, from, maxBytes)
}

func (g groupReplicas) AdvanceStart(n, _ int32, offset int64) error {
	_, err := g.at(n).AdvanceStart(offset)
	return err
}

// groupServer is a server that coordinates groups over real logs in memory, with a topic t of two partitions.
func groupServer(t *testing.T) *Server {
	t.Helper()
	s := adminServer(t, map[string]string{"offsets.topic.num.partitions": "3", "offsets.topic.replication.factor": "1"})
	s.deps.Groups = newGroups(t, s)
	createTopic(t, s, "t", 2)
	return s
}

func newGroups(t *testing.T, s *Server) *group.Coordinator {
	t.Helper()
	c := group.New(group.Config{Logger: slog.New(slog.DiscardHandler)}, groupReplicas{s})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	topic, err := s.groupTopic(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.SetPartitions(int32(len(topic.Partitions)))
	for n := range topic.Partitions {
		c.Elected(int32(n), topic.Partitions[n].LeaderEpoch)
	}
	return c
}

func wantCode(t *testing.T, what string, got int16, want *kerr.Error) {
	t.Helper()
	var code int16
	if want != nil {
		code = want.Code
	}
	if got != code {
		t.Errorf("%s: %v, want %v", what, kerr.ErrorForCode(got), want)
	}
}

func joinOf(g, member string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = g, member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 30000, 30000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 0}}}
	return req
}

func syncOf(g, member string, generation int32) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = g, member, generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	req.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: member, MemberAssignment: []byte("assigned")}}
	return req
}

// oneMember makes a stable group of one member.
func oneMember(t *testing.T, s *Server, g string) (member string, generation int32) {
	t.Helper()
	j := ask[*kmsg.JoinGroupResponse](t, s, 3, joinOf(g, ""))
	wantCode(t, "join", j.ErrorCode, nil)
	wantCode(t, "sync", ask[*kmsg.SyncGroupResponse](t, s, 3, syncOf(g, j.MemberID, j.Generation)).ErrorCode, nil)
	return j.MemberID, j.Generation
}

func commitOf(s *Server, version int16, g, member string, generation int32, topic string, partitions ...int32) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = g, member, generation
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic = topic
	if t := s.image().Topic(topic); t != nil && version >= 10 {
		rt.TopicID = t.ID
	}
	for _, n := range partitions {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.Metadata = n, 5+int64(n), kmsg.StringPtr("note")
		rt.Partitions = append(rt.Partitions, p)
	}
	req.Topics = append(req.Topics, rt)
	return req
}

func TestFindCoordinatorCreatesTheTopic(t *testing.T) {
	s := groupServer(t)
	for v := int16(0); v <= 6; v++ {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorKey, req.CoordinatorKeys = "g", []string{"g", "h"}
		got := ask[*kmsg.FindCoordinatorResponse](t, s, v, req)
		node, code := got.NodeID, got.ErrorCode
		if v >= 4 {
			if len(got.Coordinators) != 2 {
				t.Fatalf("v%d: %+v", v, got)
			}
			node, code = got.Coordinators[1].NodeID, got.Coordinators[1].ErrorCode
		}
		wantCode(t, fmt.Sprint("v", v), code, nil)
		if node != 1 {
			t.Errorf("v%d: node %d", v, node)
		}
		if v < 1 {
			continue
		}
		req.CoordinatorType = 9
		got = ask[*kmsg.FindCoordinatorResponse](t, s, v, req)
		if code = got.ErrorCode; v >= 4 {
			code = got.Coordinators[0].ErrorCode
		}
		wantCode(t, fmt.Sprint("unknown type, v", v), code, kerr.InvalidRequest)
	}
	topic := s.image().Topic(group.TopicName)
	if topic == nil || !topic.Internal || len(topic.Partitions) != 3 {
		t.Fatalf("topic %+v", topic)
	}
}

func TestJoinSyncLeaveInEveryVersion(t *testing.T) {
	s := groupServer(t)
	for v := int16(0); v <= 9; v++ {
		g := fmt.Sprint("g", v)
		j := ask[*kmsg.JoinGroupResponse](t, s, v, joinOf(g, ""))
		if v >= 4 {
			wantCode(t, "first join", j.ErrorCode, kerr.MemberIDRequired)
			j = ask[*kmsg.JoinGroupResponse](t, s, v, joinOf(g, j.MemberID))
		}
		wantCode(t, fmt.Sprint("join v", v), j.ErrorCode, nil)
		if j.Generation != 1 || j.LeaderID != j.MemberID || len(j.Members) != 1 || (j.ProtocolType != nil) != (v >= 7) {
			t.Errorf("v%d: %+v", v, j)
		}
		sv := min(v, 5)
		sync := ask[*kmsg.SyncGroupResponse](t, s, sv, syncOf(g, j.MemberID, 1))
		wantCode(t, "sync", sync.ErrorCode, nil)
		if string(sync.MemberAssignment) != "assigned" || (sv >= 5 && *sync.Protocol != "range") {
			t.Errorf("v%d: %+v", v, sync)
		}
		beat := kmsg.NewPtrHeartbeatRequest()
		beat.Group, beat.MemberID, beat.Generation = g, j.MemberID, 1
		wantCode(t, "heartbeat", ask[*kmsg.HeartbeatResponse](t, s, min(v, 4), beat).ErrorCode, nil)
		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.Group, leave.MemberID = g, j.MemberID
		leave.Members = []kmsg.LeaveGroupRequestMember{{MemberID: j.MemberID}, {MemberID: "nobody"}}
		left := ask[*kmsg.LeaveGroupResponse](t, s, min(v, 5), leave)
		wantCode(t, "leave", left.ErrorCode, nil)
		if v >= 3 {
			wantCode(t, "leave of the first", left.Members[0].ErrorCode, nil)
			wantCode(t, "leave of nobody", left.Members[1].ErrorCode, kerr.UnknownMemberID)
		} else {
			wantCode(t, "leave again", ask[*kmsg.LeaveGroupResponse](t, s, v, leave).ErrorCode, kerr.UnknownMemberID)
		}
	}
}

func TestGroupRefusals(t *testing.T) {
	s := groupServer(t)
	empty := ""
	noName := syncOf("g", "m", 1)
	noName.ProtocolType = nil
	wantCode(t, "sync v5 without a protocol", ask[*kmsg.SyncGroupResponse](t, s, 5, noName).ErrorCode, kerr.InconsistentGroupProtocol)
	instance := joinOf("g", "")
	instance.InstanceID = &empty
	wantCode(t, "empty instance id", ask[*kmsg.JoinGroupResponse](t, s, 5, instance).ErrorCode, kerr.InvalidRequest)
	short := joinOf("g", "")
	short.SessionTimeoutMillis = 1
	wantCode(t, "session timeout", ask[*kmsg.JoinGroupResponse](t, s, 5, short).ErrorCode, kerr.InvalidSessionTimeout)
	unknown := ask[*kmsg.JoinGroupResponse](t, s, 9, joinOf("g", "x"))
	wantCode(t, "an id nobody gave out", unknown.ErrorCode, kerr.UnknownMemberID)
	if unknown.MemberID != "x" || unknown.Generation != -1 || unknown.Protocol != nil {
		t.Errorf("%+v", unknown)
	}
}

func TestOffsetsInEveryVersion(t *testing.T) {
	s := groupServer(t)
	for v := int16(2); v <= 10; v++ {
		g := fmt.Sprint("g", v)
		got := ask[*kmsg.OffsetCommitResponse](t, s, v, commitOf(s, v, g, "", -1, "t", 0, 1, 9))
		wantCode(t, "commit", got.Topics[0].Partitions[0].ErrorCode, nil)
		wantCode(t, "commit", got.Topics[0].Partitions[1].ErrorCode, nil)
		wantCode(t, "commit of a partition that is not there", got.Topics[0].Partitions[2].ErrorCode, kerr.UnknownTopicOrPartition)
		unknown := kerr.IllegalGeneration
		if v >= 9 {
			unknown = kerr.GroupIDNotFound
		}
		got = ask[*kmsg.OffsetCommitResponse](t, s, v, commitOf(s, v, "none", "m", 3, "t", 0))
		wantCode(t, fmt.Sprint("a generation of an unknown group, v", v), got.Topics[0].Partitions[0].ErrorCode, unknown)
		unknown = kerr.UnknownTopicOrPartition
		if v >= 10 {
			unknown = kerr.UnknownTopicID
		}
		got = ask[*kmsg.OffsetCommitResponse](t, s, v, commitOf(s, v, g, "", -1, "never", 0))
		wantCode(t, "unknown topic", got.Topics[0].Partitions[0].ErrorCode, unknown)
	}
	for v := int16(1); v <= 10; v++ {
		for _, all := range []bool{false, true} {
			if all && v < 2 {
				continue
			}
			found := fetchedOffsets(t, s, v, "g2", all)
			want := "[0 5 note] [1 6 note]"
			if !all {
				want += " [7 -1 ]"
			}
			if found != want {
				t.Errorf("v%d, all %v: %s, want %s", v, all, found, want)
			}
		}
		if found := fetchedOffsets(t, s, v, "none", false); found != "[0 -1 ] [1 -1 ] [7 -1 ]" {
			t.Errorf("v%d, unknown group: %s", v, found)
		}
	}
}

// fetchedOffsets asks for partitions 0, 1 and 7 of t, or for all, and prints what it gets.
func fetchedOffsets(t *testing.T, s *Server, v int16, g string, all bool) string {
	t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = g
	one := kmsg.NewOffsetFetchRequestGroup()
	one.Group = g
	if !all {
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0, 1, 7}}}
		one.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", TopicID: s.image().Topic("t").ID, Partitions: []int32{0, 1, 7}}}
	}
	req.Groups = append(req.Groups, one)
	got := ask[*kmsg.OffsetFetchResponse](t, s, v, req)
	wantCode(t, "fetch", got.ErrorCode, nil)
	var out []string
	for _, topic := range got.Topics {
		for _, p := range topic.Partitions {
			out = append(out, fmt.Sprintf("[%d %d %s]", p.Partition, p.Offset, *p.Metadata))
		}
	}
	for _, group := range got.Groups {
		wantCode(t, "fetch", group.ErrorCode, nil)
		for _, topic := range group.Topics {
			if v >= 10 && topic.TopicID != s.image().Topic("t").ID {
				t.Errorf("v%d: topic id %v", v, topic.TopicID)
			}
			for _, p := range topic.Partitions {
				out = append(out, fmt.Sprintf("[%d %d %s]", p.Partition, p.Offset, *p.Metadata))
			}
		}
	}
	return strings.Join(out, " ")
}

func TestOffsetsSurviveTheCoordinator(t *testing.T) {
	s := groupServer(t)
	ask[*kmsg.OffsetCommitResponse](t, s, 8, commitOf(s, 8, "g", "", -1, "t", 0, 1))
	member, generation := oneMember(t, s, "live")
	s.deps.Groups = newGroups(t, s) // another one, over the same log
	if found := fetchedOffsets(t, s, 8, "g", true); found != "[0 5 note] [1 6 note]" {
		t.Errorf("%s", found)
	}
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.MemberID, beat.Generation = "live", member, generation
	wantCode(t, "heartbeat", ask[*kmsg.HeartbeatResponse](t, s, 4, beat).ErrorCode, nil)
}

func TestDescribeListAndDeleteGroups(t *testing.T) {
	s := groupServer(t)
	oneMember(t, s, "live")
	ask[*kmsg.OffsetCommitResponse](t, s, 8, commitOf(s, 8, "simple", "", -1, "t", 0))
	for v := int16(0); v <= 6; v++ {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups, req.IncludeAuthorizedOperations = []string{"live", "none"}, true
		got := ask[*kmsg.DescribeGroupsResponse](t, s, v, req)
		live, none := got.Groups[0], got.Groups[1]
		if live.State != "Stable" || live.Protocol != "range" || len(live.Members) != 1 || string(live.Members[0].MemberAssignment) != "assigned" ||
			(v >= 3 && live.AuthorizedOperations != 3400) {
			t.Errorf("v%d: %+v", v, live)
		}
		var want *kerr.Error
		if v >= 6 {
			want = kerr.GroupIDNotFound
		}
		if wantCode(t, fmt.Sprint("unknown group, v", v), none.ErrorCode, want); none.State != "Dead" {
			t.Errorf("v%d: state %s", v, none.State)
		}
	}
	for _, c := range []struct {
		states, types []string
		want          string
	}{
		{nil, nil, "live:Stable simple:Empty"}, {[]string{"stable"}, nil, "live:Stable"}, {[]string{"Dead", "Empty"}, []string{"Classic"}, "simple:Empty"},
		{nil, []string{"consumer"}, ""},
	} {
		req := kmsg.NewPtrListGroupsRequest()
		req.StatesFilter, req.TypesFilter = c.states, c.types
		var list []string
		for _, g := range ask[*kmsg.ListGroupsResponse](t, s, 5, req).Groups {
			list = append(list, g.Group+":"+g.GroupState)
			if g.GroupType != "classic" {
				t.Errorf("type %q", g.GroupType)
			}
		}
		if got := strings.Join(list, " "); got != c.want {
			t.Errorf("states %v, types %v: %s, want %s", c.states, c.types, got, c.want)
		}
	}
	del := kmsg.NewPtrDeleteGroupsRequest()
	del.Groups = []string{"live", "simple", "none"}
	deleted := ask[*kmsg.DeleteGroupsResponse](t, s, 2, del).Groups
	for i, want := range []*kerr.Error{kerr.NonEmptyGroup, nil, kerr.GroupIDNotFound} {
		wantCode(t, "delete "+deleted[i].Group, deleted[i].ErrorCode, want)
	}
	offsets := kmsg.NewPtrOffsetDeleteRequest()
	offsets.Group = "live"
	offsets.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 5}}},
		{Topic: "never", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}}}
	got := ask[*kmsg.OffsetDeleteResponse](t, s, 0, offsets)
	wantCode(t, "subscribed", got.Topics[0].Partitions[0].ErrorCode, kerr.GroupSubscribedToTopic)
	wantCode(t, "no such partition", got.Topics[0].Partitions[1].ErrorCode, kerr.UnknownTopicOrPartition)
	wantCode(t, "no such topic", got.Topics[1].Partitions[0].ErrorCode, kerr.UnknownTopicOrPartition)
	offsets.Group, offsets.Topics = "none", offsets.Topics[:1]
	wantCode(t, "unknown group", ask[*kmsg.OffsetDeleteResponse](t, s, 0, offsets).ErrorCode, kerr.GroupIDNotFound)
}

// A wait ends with its request: when the client goes, or the server stops.
func TestJoinEndsWithItsRequest(t *testing.T) {
	s := groupServer(t)
	oneMember(t, s, "g")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req := joinOf("g", "")
	req.SetVersion(3)
	got := s.handleJoinGroup(&request{ctx: ctx, key: 11, version: 3}, req).(*kmsg.JoinGroupResponse) // waits for the first member
	wantCode(t, "join", got.ErrorCode, kerr.CoordinatorNotAvailable)
}

// Every error of package group has its Kafka error: none becomes UNKNOWN_SERVER_ERROR because it was forgotten.
func TestGroupErrorsAreMapped(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../group/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("errors_group.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(f, func(node ast.Node) bool {
		if v, ok := node.(*ast.ValueSpec); ok {
			n++
			if !regexp.MustCompile(`\{group\.` + v.Names[0].Name + `,`).Match(table) {
				t.Errorf("%s is not in the table", v.Names[0].Name)
			}
		}
		return true
	})
	if n < 20 {
		t.Errorf("%d errors found", n)
	}
}
