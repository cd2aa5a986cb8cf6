package group

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestSimpleCommit(t *testing.T) {
	r := newRig(t, Config{})
	wantAnswer(t, "commit", r.commit("g", "", -1, "t", 0, 11), nil)
	r.wantState("g", Empty)
	wantAnswer(t, "with a generation", r.commit("g", "", 3, "t", 0, 12), ErrUnknownMember)
	wantAnswer(t, "with a member id", r.commit("g", "someone", -1, "t", 0, 13), nil)
	wantAnswer(t, "unknown group with a generation", r.commit("none", "someone", 3, "t", 0, 12), ErrGroupNotFound)
	wantAnswer(t, "a negative offset", r.commit("g", "", -1, "t", 1, -7), nil)
	wantAnswer(t, "the group without a name", r.commit("", "", -1, "t", 0, 5), nil)
	if o := r.committed("g", "t", 0); o != 13 {
		t.Fatalf("committed %d", o)
	}
	if o := r.committed("g", "t", 7); o != -1 {
		t.Fatalf("committed %d where nothing is", o)
	}
	if o := r.committed("none", "t", 0); o != -1 {
		t.Fatalf("committed %d in an unknown group", o)
	}
	r.wantState("none", Dead)
}

func TestMemberCommit(t *testing.T) {
	r := newRig(t, Config{})
	ids, gen := r.stable("g", 1)
	for _, c := range []struct {
		what, member string
		generation   int32
		want         error
	}{
		{"right", ids[0], gen, nil},
		{"wrong generation", ids[0], gen + 1, ErrIllegalGeneration},
		{"unknown member", "nobody", gen, ErrUnknownMember},
		{"simple commit into a group with members", "", -1, ErrUnknownMember},
	} {
		wantAnswer(t, c.what, r.commit("g", c.member, c.generation, "t", 0, 5), c.want)
	}
}

func TestCommitMetadata(t *testing.T) {
	r := newRig(t, Config{OffsetMetadataMax: 8})
	both := &CommitRequest{Group: "g", Generation: -1, Retention: -1, Offsets: []CommitOffset{
		{Topic: "t", Partition: 0, Offset: 1, LeaderEpoch: 7, Metadata: "12345678"}, {Topic: "t", Partition: 1, Metadata: "123456789"}}}
	got := collect(r, func(rep *reply[[]error]) { r.m.commit(both, rep) })
	wantAnswer(t, "commit", got, nil)
	wantErr(t, "8 bytes", got.v[0], nil)
	wantErr(t, "9 bytes", got.v[1], ErrMetadataTooLarge)
	r.reload()
	all := collect(r, func(rep *reply[[]TopicOffsets]) { r.m.fetch("g", nil, rep) })
	wantAnswer(t, "fetch", all, nil)
	want := PartitionOffset{Partition: 0, Offset: 1, LeaderEpoch: 7, Metadata: "12345678"}
	if len(all.v) != 1 || len(all.v[0].Partitions) != 1 || all.v[0].Partitions[0] != want {
		t.Fatalf("fetched %+v", all.v)
	}
}

// Nothing is told before it is durable: not that an offset was committed, nor what offset was.
func TestAnswersWaitForTheLog(t *testing.T) {
	r := newRig(t, Config{})
	wantAnswer(t, "commit", r.commit("g", "", -1, "t", 0, 1), nil)
	r.hold = true
	commit := r.commit("g", "", -1, "t", 0, 2)
	wantWaiting(t, "commit", commit)
	fetch := collect(r, func(rep *reply[[]TopicOffsets]) { r.m.fetch("g", nil, rep) })
	wantWaiting(t, "fetch", fetch)
	other := collect(r, func(rep *reply[[]TopicOffsets]) { r.m.fetch("other", nil, rep) })
	wantAnswer(t, "fetch of another group", other, nil)
	deleted := collect(r, func(rep *reply[struct{}]) { r.m.deleteGroup("g", rep) })
	wantWaiting(t, "delete", deleted)
	gone := collect(r, func(rep *reply[[]TopicOffsets]) { r.m.fetch("g", nil, rep) })
	wantWaiting(t, "fetch after the delete", gone)
	r.durable(nil)
	wantAnswer(t, "commit", commit, nil)
	wantAnswer(t, "fetch", fetch, nil)
	if fetch.v[0].Partitions[0].Offset != 2 {
		t.Fatalf("fetched %+v", fetch.v)
	}
	wantWaiting(t, "fetch after the delete", gone)
	r.durable(nil)
	wantAnswer(t, "delete", deleted, nil)
	wantAnswer(t, "fetch after the delete", gone, nil)
	if len(gone.v) != 0 {
		t.Fatalf("fetched %+v", gone.v)
	}
}

func TestRefusedAppendChangesNothing(t *testing.T) {
	r := newRig(t, Config{})
	wantAnswer(t, "commit", r.commit("g", "", -1, "t", 0, 1), nil)
	r.refuse = errors.New("disk is full")
	wantAnswer(t, "commit", r.commit("g", "", -1, "t", 0, 2), ErrNotAvailable)
	wantAnswer(t, "commit of a new group", r.commit("h", "", -1, "t", 0, 2), ErrNotAvailable)
	wantAnswer(t, "delete", collect(r, func(rep *reply[struct{}]) { r.m.deleteGroup("g", rep) }), ErrNotAvailable)
	r.refuse = nil
	r.wantState("h", Dead)
	if o := r.committed("g", "t", 0); o != 1 {
		t.Fatalf("committed %d", o)
	}
}

func TestAssignmentThatCannotBeStored(t *testing.T) {
	r := newRig(t, Config{})
	j := r.join(oldJoin("g", ""))
	r.refuse = errors.New("disk is full")
	s := r.sync("g", j.v.MemberID, 1, Assignment{j.v.MemberID, []byte("a")})
	wantAnswer(t, "sync", s, ErrNotAvailable)
	r.wantState("g", PreparingRebalance)
	r.refuse = nil
	again := r.join(oldJoin("g", j.v.MemberID))
	wantAnswer(t, "rejoin", again, nil)
	wantAnswer(t, "sync", r.sync("g", j.v.MemberID, again.v.Generation, Assignment{j.v.MemberID, []byte("a")}), nil)
}

// An append that was accepted and then failed leaves the state ahead of the log: all that wait get an error, and it is loaded anew.
func TestBrokenAppend(t *testing.T) {
	r := newRig(t, Config{})
	r.hold = true
	commit := r.commit("g", "", -1, "t", 0, 1)
	fetch := collect(r, func(rep *reply[[]TopicOffsets]) { r.m.fetch("g", nil, rep) })
	r.durable(errors.New("not the leader any more"))
	wantAnswer(t, "commit", commit, ErrNotAvailable)
	if r.m.broken == nil {
		t.Fatal("the machine goes on")
	}
	r.m.drop(ErrNotAvailable)
	wantAnswer(t, "fetch", fetch, ErrNotAvailable)
}

func TestAssignmentIsToldWhenStored(t *testing.T) {
	r := newRig(t, Config{})
	j := r.join(oldJoin("g", ""))
	r.hold = true
	s := r.sync("g", j.v.MemberID, 1, Assignment{j.v.MemberID, []byte("a")})
	wantWaiting(t, "sync", s)
	r.wantState("g", CompletingRebalance)
	second := r.join(oldJoin("g", "")) // a rebalance begins before the assignment is stored
	wantAnswer(t, "sync", s, ErrRebalanceInProgress)
	r.durable(nil)
	r.wantState("g", PreparingRebalance)
	wantWaiting(t, "second", second)
}

func TestOffsetDelete(t *testing.T) {
	r := newRig(t, Config{})
	del := func(group, topic string, partitions ...int32) *got[[][]error] {
		return collect(r, func(rep *reply[[][]error]) { r.m.deleteOffsets(group, []TopicPartitions{{topic, partitions}}, rep) })
	}
	wantAnswer(t, "unknown group", del("none", "t", 0), ErrGroupNotFound)
	ids, gen := r.stable("g", 1) // subscribed to t
	r.commit("g", ids[0], gen, "t", 0, 5)
	r.commit("g", ids[0], gen, "u", 0, 6)
	d := del("g", "t", 0)
	wantAnswer(t, "subscribed", d, nil)
	wantErr(t, "subscribed", d.v[0][0], ErrSubscribed)
	d = del("g", "u", 0, 1)
	wantAnswer(t, "not subscribed", d, nil)
	wantErr(t, "not subscribed", d.v[0][0], nil)
	wantErr(t, "never committed", d.v[0][1], nil)
	r.reload()
	if a, b := r.committed("g", "t", 0), r.committed("g", "u", 0); a != 5 || b != -1 {
		t.Fatalf("committed %d and %d", a, b)
	}
	j := oldJoin("connect", "")
	j.ProtocolType = "connect"
	wantAnswer(t, "join", r.join(j), nil)
	wantAnswer(t, "a group whose topics cannot be known", del("connect", "t", 0), ErrGroupNotEmpty)
}

func TestUnreadableSubscriptionCountsAsAll(t *testing.T) {
	r := newRig(t, Config{})
	j := oldJoin("g", "")
	j.Protocols[0].Metadata = []byte("not a subscription")
	id := r.join(j).v.MemberID
	wantAnswer(t, "sync", r.sync("g", id, 1), nil)
	r.commit("g", id, 1, "t", 0, 5)
	d := collect(r, func(rep *reply[[][]error]) { r.m.deleteOffsets("g", []TopicPartitions{{"t", []int32{0}}}, rep) })
	wantErr(t, "delete", d.v[0][0], ErrSubscribed)
}

func TestDeleteGroup(t *testing.T) {
	r := newRig(t, Config{})
	del := func(group string) error {
		d := collect(r, func(rep *reply[struct{}]) { r.m.deleteGroup(group, rep) })
		if !d.done {
			t.Fatal("not answered")
		}
		return d.err
	}
	ids, gen := r.stable("g", 1)
	r.commit("g", ids[0], gen, "t", 0, 5)
	wantErr(t, "not empty", del("g"), ErrGroupNotEmpty)
	r.leave("g", LeaveMember{MemberID: ids[0]})
	wantErr(t, "empty", del("g"), nil)
	wantErr(t, "again", del("g"), ErrGroupNotFound)
	r.reload()
	r.wantState("g", Dead)
	if o := r.committed("g", "t", 0); o != -1 {
		t.Fatalf("committed %d", o)
	}
	if n, b := r.m.usage.groups.Load(), r.m.usage.bytes.Load(); n != 0 || b != 0 {
		t.Fatalf("%d groups, %d bytes left in the books", n, b)
	}
}

func TestTopicsDeleted(t *testing.T) {
	r := newRig(t, Config{})
	r.commit("g", "", -1, "t", 0, 5)
	r.commit("g", "", -1, "u", 0, 6)
	r.commit("h", "", -1, "t", 3, 7)
	r.m.topicsDeleted([]string{"t", "none"})
	r.settle()
	r.reload()
	if a, b, c := r.committed("g", "t", 0), r.committed("g", "u", 0), r.committed("h", "t", 3); a != -1 || b != 6 || c != -1 {
		t.Fatalf("committed %d, %d, %d", a, b, c)
	}
}

func TestExpiry(t *testing.T) {
	r := newRig(t, Config{OffsetsRetention: time.Hour})
	expire := func() {
		for r.m.expire(2) {
			r.settle()
		}
		r.settle()
	}
	r.commit("simple", "", -1, "t", 0, 1)
	short := &CommitRequest{Group: "short", Generation: -1, Retention: time.Minute, Offsets: []CommitOffset{{Topic: "t", Offset: 1}}}
	collect(r, func(rep *reply[[]error]) { r.m.commit(short, rep) })
	ids, gen := r.stable("live", 1) // subscribed to t
	r.commit("live", ids[0], gen, "t", 0, 2)
	r.commit("live", ids[0], gen, "old", 0, 3)
	left, leftGen := r.stable("left", 1)
	r.commit("left", left[0], leftGen, "t", 0, 4)

	alive := func(d time.Duration) {
		for end := r.m.now.Add(d); r.m.now.Before(end); {
			r.pass(4 * time.Second)
			wantErr(t, "heartbeat", r.beat("live", ids[0], gen), nil)
			if left != nil {
				wantErr(t, "heartbeat", r.beat("left", left[0], leftGen), nil)
			}
		}
	}
	alive(2 * time.Minute)
	expire()
	r.wantState("short", Dead) // an expiry of its own
	r.wantState("simple", Empty)
	alive(59 * time.Minute)
	r.leave("left", LeaveMember{MemberID: left[0]})
	left = nil
	expire()
	r.reload()
	r.wantState("simple", Dead) // an hour since the commit
	if a, b := r.committed("live", "t", 0), r.committed("live", "old", 0); a != 2 || b != -1 {
		t.Fatalf("live group: %d, %d: what is read stays", a, b)
	}
	if o := r.committed("left", "t", 0); o != 4 { // counts from the day the group became empty
		t.Fatalf("left group: %d", o)
	}
	alive(59 * time.Minute)
	expire()
	r.wantState("left", Empty)
	alive(2 * time.Minute)
	expire()
	r.wantState("left", Dead)
	r.wantState("live", Stable)
	r.reload()
	r.wantState("left", Dead)
}

func TestExpiryGivesUpWhileNothingCanBeAppended(t *testing.T) {
	r := newRig(t, Config{OffsetsRetention: time.Hour})
	for _, g := range []string{"a", "b", "c", "d"} {
		r.commit(g, "", -1, "t", 0, 1)
	}
	r.pass(2 * time.Hour)
	r.refuse = errors.New("disk is full")
	if r.m.expire(1) {
		t.Fatal("it would try forever")
	}
	r.refuse = nil
	if !r.m.expire(1) {
		t.Fatal("there is more")
	}
}

func TestLargeCommitIsSplitAndLargeRecordsAreRefused(t *testing.T) {
	r := newRig(t, Config{MaxBatchBytes: 1000})
	var many []CommitOffset
	for i := range 100 {
		many = append(many, CommitOffset{Topic: "t", Partition: int32(i), Offset: int64(i)})
	}
	r.hold = true
	got := collect(r, func(rep *reply[[]error]) {
		r.m.commit(&CommitRequest{Group: "g", Generation: -1, Retention: -1, Offsets: many}, rep)
	})
	if len(r.inflight) < 5 {
		t.Fatalf("%d batches", len(r.inflight))
	}
	for len(r.inflight) > 0 {
		wantWaiting(t, "commit", got)
		r.durable(nil)
	}
	wantAnswer(t, "commit", got, nil)
	r.hold = false
	r.reload()
	if o := r.committed("g", "t", 99); o != 99 {
		t.Fatalf("committed %d", o)
	}
	wantAnswer(t, "a name too long for a batch", r.commit("g", "", -1, strings.Repeat("t", 2000), 0, 1), ErrRecordTooLarge)
}

func TestReload(t *testing.T) {
	r := newRig(t, Config{})
	ids, gen := r.stable("g", 3)
	r.commit("g", ids[1], gen, "t", 0, 5)
	r.commit("g", ids[1], gen, "t", 0, 6)
	before, _ := r.m.describe("g")
	live := r.m.live
	r.reload()
	after, _ := r.m.describe("g")
	if after.State != before.State || after.Protocol != before.Protocol || len(after.Members) != len(before.Members) {
		t.Fatalf("before %+v\nafter %+v", before, after)
	}
	for i := range before.Members {
		b, a := before.Members[i], after.Members[i]
		if a.MemberID != b.MemberID || a.Client != b.Client || string(a.Metadata) != string(b.Metadata) || string(a.Assignment) != string(b.Assignment) {
			t.Fatalf("member %d: before %+v, after %+v", i, b, a)
		}
	}
	if r.m.live != live {
		t.Fatalf("live state %+v before, %+v after", live, r.m.live)
	}
	for _, id := range ids { // nobody notices
		wantErr(t, "heartbeat", r.beat("g", id, gen), nil)
	}
	if o := r.committed("g", "t", 0); o != 6 {
		t.Fatalf("committed %d", o)
	}
	r.pass(time.Minute) // sessions run again
	r.wantState("g", Empty)
}
