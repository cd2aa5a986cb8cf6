package membership

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-io/chronik/internal/uuid"
)

func listenLoopback(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// options describes one node for a test; claims get what OnClaim reports.
func options(t *testing.T, node int32, nonce uint64, claims chan Claim) Options {
	t.Helper()
	l := listenLoopback(t)
	o := Options{
		Dir: t.TempDir(), ClusterID: "test-cluster", BootNonce: nonce, Listener: l,
		Self:    Member{NodeID: node, DiskID: uuid.New(), Address: l.Addr().String(), Voter: true},
		OnClaim: func(c Claim) { claims <- c },
		OnFatal: noFatal(t),
		Logger:  slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	o.Founders = []Member{o.Self}
	return o
}

func open(t *testing.T, o Options) *Membership {
	t.Helper()
	m, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wait(t *testing.T, claims chan Claim) Claim {
	t.Helper()
	select {
	case c := <-claims:
		return c
	case <-time.After(20 * time.Second):
		t.Fatal("no claim")
		return Claim{}
	}
}

// One voter must not wait out an election timeout: the node's time to ready hangs on it.
func TestOneVoterElectsItselfAtOnce(t *testing.T) {
	claims := make(chan Claim, 8)
	o := options(t, 1, 11, claims)
	begin := time.Now()
	m := open(t, o)
	first := wait(t, claims)
	took := time.Since(begin)
	t.Logf("founded, elected and claimed in %v", took)
	if took > heartbeatTimeout*3/4 {
		t.Errorf("it took %v: the election waited for a timeout", took)
	}
	if first.NodeID != 1 || first.DiskID != o.Self.DiskID || first.BootNonce != 11 || first.Term == 0 {
		t.Errorf("claim %+v", first)
	}
	if got := m.Members(); len(got) != 1 || got[0] != o.Self {
		t.Errorf("members %+v, want %+v", got, o.Self)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	// The next start of the process: another nonce, perhaps another port. Old claims are replayed and not reported.
	o.BootNonce = 12
	o.Listener = listenLoopback(t)
	o.Self.Address = o.Listener.Addr().String()
	begin = time.Now()
	m = open(t, o)
	defer m.Close()
	second := wait(t, claims)
	t.Logf("restarted, elected and claimed in %v", time.Since(begin))
	if second.BootNonce != 12 || second.Term <= first.Term {
		t.Errorf("claim after restart %+v, before %+v", second, first)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if got := m.Members(); len(got) == 1 && got[0].Address == o.Self.Address {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("members %+v keep the old address, now %s", m.Members(), o.Self.Address)
		}
	}
}

// three starts a cluster of three over loopback.
func three(t *testing.T, claims chan Claim) ([]*Membership, []Options) {
	t.Helper()
	var all []Options
	var founders []Member
	for i := int32(1); i <= 3; i++ {
		o := options(t, i, uint64(100+i), claims)
		all = append(all, o)
		founders = append(founders, o.Self)
	}
	nodes := make([]*Membership, 3)
	for i := range all {
		all[i].Founders = founders
		nodes[i] = open(t, all[i])
		t.Cleanup(func() { nodes[i].Close() })
	}
	return nodes, all
}

func TestThreeNodesElectOneAndSurviveItsLoss(t *testing.T) {
	claims := make(chan Claim, 16)
	nodes, _ := three(t, claims)
	first := wait(t, claims)
	leader := nodes[first.NodeID-1]
	for _, m := range nodes {
		for deadline := time.Now().Add(10 * time.Second); m.Claim() != first || len(m.Members()) != 3; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("a node holds claim %+v and members %+v, want claim %+v", m.Claim(), m.Members(), first)
			}
		}
	}
	if err := leader.Close(); err != nil {
		t.Fatal(err)
	}
	second := wait(t, claims)
	if second.NodeID == first.NodeID || second.Term <= first.Term {
		t.Errorf("after the loss of %+v: %+v", first, second)
	}
}

// A process on a voter's address that is not that voter (another disk, another cluster) must not vote for it. Raft itself
// does not look: it counts by configured address.
func TestStrangerAtAVotersAddressHasNoVote(t *testing.T) {
	for _, stranger := range []struct {
		name   string
		change func(*Options)
	}{
		{"another disk", func(o *Options) { o.Self.DiskID = uuid.New() }},
		{"another node", func(o *Options) { o.Self.NodeID = 9 }},
		{"another cluster", func(o *Options) { o.ClusterID = "other" }},
	} {
		t.Run(stranger.name, func(t *testing.T) {
			t.Parallel()
			claims := make(chan Claim, 8)
			a, b := options(t, 1, 1, claims), options(t, 2, 2, make(chan Claim, 8))
			founders := []Member{a.Self, b.Self}
			a.Founders = founders
			stranger.change(&b)
			b.Founders = nil // an emptied disk
			defer open(t, b).Close()
			defer open(t, a).Close()
			select {
			case c := <-claims:
				t.Errorf("elected with the vote of a stranger: %+v", c)
			case <-time.After(3 * heartbeatTimeout):
			}
		})
	}
}

func TestHandshakeRefusesAndIsBounded(t *testing.T) {
	o := options(t, 1, 1, make(chan Claim, 1))
	s := newStreamLayer(o)
	right := encodeAddress(o.Self)
	go func() {
		for {
			conn, err := s.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(conn, conn)
			conn.Close()
		}
	}()
	// Silent and babbling callers first: they must not keep others out.
	for i := range maxHandshakes / 2 {
		conn, err := net.Dial("tcp", o.Self.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 0 {
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\n\r\n")
		}
	}
	conn, err := s.Dial(right, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "hello")
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		t.Errorf("echo %q, %v", got, err)
	}
	conn.Close()
	wrong := o.Self
	wrong.DiskID = uuid.New()
	if _, err := s.Dial(encodeAddress(wrong), time.Second); err == nil || !strings.Contains(err.Error(), "it is") {
		t.Errorf("dialling another disk: %v", err)
	}
	other := &streamLayer{bans: newBans(), cluster: "other", self: o.Self}
	if _, err := other.Dial(right, time.Second); err == nil || !strings.Contains(err.Error(), "another cluster") {
		t.Errorf("dialling from another cluster: %v", err)
	}
	begin := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("close waited %v for silent callers", took)
	}
}

// recorder is a transport that notes whether Raft could install its fast path for heartbeats.
type recorder struct {
	raft.Transport
	handlers int
}

func (r *recorder) SetHeartbeatHandler(func(raft.RPC)) { r.handlers++ }

func TestHeartbeatsTakeTheMainLoop(t *testing.T) {
	_, inner := raft.NewInmemTransport("a")
	rec := &recorder{Transport: inner}
	tr := newTransport(rec)
	defer tr.Close()
	tr.SetHeartbeatHandler(func(raft.RPC) { t.Error("fast path used") })
	if rec.handlers != 0 {
		t.Error("the heartbeat fast path reached the network")
	}
	reply := make(chan raft.RPCResponse, 1)
	go func() {
		rpc := <-tr.Consumer()
		rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
	}()
	_, from := raft.NewInmemTransport("b")
	from.Connect("a", inner)
	var resp raft.AppendEntriesResponse
	if err := from.AppendEntries("a", "a", &raft.AppendEntriesRequest{Term: 1}, &resp); err != nil || !resp.Success {
		t.Errorf("heartbeat: %+v, %v", resp, err)
	}
	close(reply)
}

func TestNothingIsPipelined(t *testing.T) {
	if maxRPCsInFlight != 1 {
		t.Errorf("%d requests in flight", maxRPCsInFlight)
	}
	_, inner := raft.NewInmemTransport("")
	tr := newTransport(inner)
	defer tr.Close()
	if _, err := tr.AppendEntriesPipeline("x", "x"); err != raft.ErrPipelineReplicationNotSupported {
		t.Errorf("pipeline: %v", err)
	}
}

func TestLargeSnapshotsAreRefusedUnread(t *testing.T) {
	_, inner := raft.NewInmemTransport("a")
	tr := newTransport(inner)
	defer tr.Close()
	_, from := raft.NewInmemTransport("b")
	from.Connect("a", inner)
	for _, size := range []int64{-1, maxSnapshotBytes + 1} {
		var resp raft.InstallSnapshotResponse
		err := from.InstallSnapshot("a", "a", &raft.InstallSnapshotRequest{Size: size}, &resp, bytes.NewReader(nil))
		if err == nil || !strings.Contains(err.Error(), ErrLimit.Error()) {
			t.Errorf("snapshot of %d bytes: %v", size, err)
		}
	}
}

func TestConfigurationIsHardened(t *testing.T) {
	c := raftConfig("1:x")
	if c.ShutdownOnRemove {
		t.Error("removing the leader would stop its process")
	}
	if c.NotifyCh != nil {
		t.Error("NotifyCh blocks the main loop")
	}
	if c.PreVoteDisabled {
		t.Error("no pre-vote")
	}
	if c.LeaderLeaseTimeout != c.HeartbeatTimeout {
		t.Errorf("a leader steps down after %v, its followers wait for %v", c.LeaderLeaseTimeout, c.HeartbeatTimeout)
	}
	if c.HeartbeatTimeout != time.Second || c.ElectionTimeout != time.Second {
		t.Errorf("an election after %v and %v; the timing of the metadata log counts on 1 s", c.HeartbeatTimeout, c.ElectionTimeout)
	}
	if err := raft.ValidateConfig(c); err != nil {
		t.Error(err)
	}
}

// The calls whose answers look like safety and are not must not come back.
func TestForbiddenCallsAreNotUsed(t *testing.T) {
	forbidden := []string{"VerifyLeader", "NotifyCh", "CurrentTerm", "RecoverCluster", "Barrier"}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		seen++
		tree, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains(forbidden, s.Sel.Name) {
				t.Errorf("%s uses %s", f.Name(), s.Sel.Name)
			}
			return true
		})
	}
	if seen < 5 {
		t.Errorf("looked at %d files only", seen)
	}
}

// A term is taken from the log entry of a claim, never from the claim's own bytes.
func TestClaimHasTheTermOfItsEntry(t *testing.T) {
	claims := make(chan Claim, 2)
	o := options(t, 1, 5, claims)
	f := newFSM(o)
	command, err := encodeClaim(Claim{NodeID: 1, DiskID: o.Self.DiskID, BootNonce: 5, Term: 99})
	if err != nil {
		t.Fatal(err)
	}
	f.Apply(&raft.Log{Index: 3, Term: 7, Data: command})
	if c := wait(t, claims); c.Term != 7 {
		t.Errorf("claim %+v, want term 7", c)
	}
	for _, other := range []Claim{
		{NodeID: 2, DiskID: o.Self.DiskID, BootNonce: 5},
		{NodeID: 1, DiskID: uuid.New(), BootNonce: 5},
		{NodeID: 1, DiskID: o.Self.DiskID, BootNonce: 4},
	} {
		command, err := encodeClaim(other)
		if err != nil {
			t.Fatal(err)
		}
		f.Apply(&raft.Log{Index: 4, Term: 8, Data: command})
		if len(claims) > 0 {
			t.Errorf("claim of another process reported: %+v", <-claims)
		}
		if got := f.current().claim; got.Term != 8 || got.BootNonce != other.BootNonce {
			t.Errorf("current claim %+v", got)
		}
	}
}

func TestUnknownCommandsStopTheNode(t *testing.T) {
	for _, data := range []string{``, `{}`, `{"v":2,"claim":{}}`, `{"v":1}`, `garbage`} {
		stopped := 0
		f := newFSM(Options{OnFatal: func(error) { stopped++ }, OnClaim: func(Claim) { t.Error("claimed") }})
		f.Apply(&raft.Log{Index: 1, Term: 1, Data: []byte(data)})
		if stopped != 1 {
			t.Errorf("%q: stopped %d times", data, stopped)
		}
	}
}

func TestSnapshotKeepsMembersAndClaim(t *testing.T) {
	o := options(t, 1, 5, make(chan Claim, 1))
	f := newFSM(o)
	f.StoreConfiguration(2, raft.Configuration{Servers: []raft.Server{
		{ID: o.Self.serverID(), Address: encodeAddress(o.Self)},
		{Suffrage: raft.Nonvoter, ID: Member{NodeID: 2}.serverID(), Address: "h:1#2:x"},
	}})
	f.state.Store(&state{members: f.current().members, claim: Claim{NodeID: 2, BootNonce: 9, Term: 4}})
	snap, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	store := raft.NewInmemSnapshotStore()
	w, err := store.Create(raft.SnapshotVersionMax, 2, 4, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := snap.Persist(w); err != nil {
		t.Fatal(err)
	}
	_, r, err := store.Open(w.ID())
	if err != nil {
		t.Fatal(err)
	}
	g := newFSM(o)
	if err := g.Restore(r); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(g.current().members, f.current().members) || g.current().claim != f.current().claim {
		t.Errorf("restored %+v, want %+v", g.current(), f.current())
	}
}

// The log is bounded by snapshots, and a start from a snapshot and what follows it knows the same.
func TestStartsFromASnapshot(t *testing.T) {
	claims := make(chan Claim, 1000)
	o := options(t, 1, 1, claims)
	m := open(t, o)
	wait(t, claims)
	for range 2 * keepEntries {
		if err := m.claim(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	first, err := m.store.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	last, err := m.store.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	if last-first > keepEntries {
		t.Errorf("%d entries after a snapshot, want %d at most", last-first, keepEntries)
	}
	before := m.Claim()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	for len(claims) > 0 {
		<-claims
	}
	o.BootNonce = 2
	o.Listener = listenLoopback(t)
	m = open(t, o)
	defer m.Close()
	after := wait(t, claims)
	if after.BootNonce != 2 || after.Term <= before.Term || len(m.Members()) != 1 {
		t.Errorf("claim %+v after %+v, members %+v", after, before, m.Members())
	}
}

// A server keeps its connections to another one. When that one starts again they are dead, and an election that finds it out by losing the
// vote it needs has to wait for Raft's timeout before the next.
func TestVotesAreAskedForOnLiveConnections(t *testing.T) {
	a, b := options(t, 1, 1, nil), options(t, 2, 2, nil)
	from := newTransport(newNetworkTransport(a, newRaftLogger(a.Logger)))
	defer from.Close()
	address := b.Listener.Addr().String()
	for term := uint64(1); term <= 3; term++ {
		if term > 1 {
			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			b.Listener = l
		}
		to := newTransport(newNetworkTransport(b, newRaftLogger(b.Logger)))
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case rpc := <-to.Consumer():
					rpc.Respond(&raft.RequestVoteResponse{Term: term, Granted: true}, nil)
				case <-stop:
					return
				}
			}
		}()
		var wg sync.WaitGroup
		for range pooledPerServer { // so many connections are kept
			wg.Go(func() {
				var resp raft.RequestVoteResponse
				if err := from.RequestVote(b.Self.serverID(), encodeAddress(b.Self), &raft.RequestVoteRequest{Term: term}, &resp); err != nil || !resp.Granted {
					t.Errorf("start %d of the voter: granted %v, %v", term, resp.Granted, err)
				}
			})
		}
		wg.Wait()
		if got := to.asked.Load(); got != term {
			t.Errorf("a vote in term %d was asked for, and %d is noted", term, got)
		}
		close(stop)
		if err := to.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
