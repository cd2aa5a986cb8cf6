package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/chronik-io/chronik/internal/membership"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/peer"
)

// Raft's own detection takes one to two seconds, drawn by each voter, and until the last one is through nobody is elected. These shorten it
// to what it is at least: at once where it is certain that the process that leads has ended, and little more than a second where a
// majority has heard nothing of it on any connection.
const (
	watchEvery    = 100 * time.Millisecond
	agreeWithin   = 50 * time.Millisecond   // a majority has to say so in this time
	agreeSilent   = 150 * time.Millisecond  // the same for a leader that is silent: a hurry that loses the answer costs more
	probeWithin   = 40 * time.Millisecond   // of it, for one's own answer
	rankDelay     = 75 * time.Millisecond   // so that one of the survivors begins, and not all
	electPatience = 600 * time.Millisecond  // for an election that another one has begun, or is about to
	electOnceIn   = 5 * time.Second         // elections begun here
	leaderSilence = 1200 * time.Millisecond // of the leader before an election; a follower hears something every 500 ms
	silenceAgreed = time.Second             // as another voter has to have seen it
	ownTickGap    = 200 * time.Millisecond  // between two looks: beyond it, the silence may be our own
	stuckFor      = 5 * time.Second         // a leader that commits nothing for this long hands over
	handOverEvery = 10 * time.Second
	noNode        = -1
)

// suspicion names the process of which a voter wants to know whether it is gone, or silent.
type suspicion struct {
	Node   int32  `json:"node"`
	Nonce  uint64 `json:"nonce"`
	Silent bool   `json:"silent,omitempty"`
}

// What handleSuspect answers.
const (
	answerGone   = "gone"
	answerSilent = "silent"
	answerAlive  = "alive"
)

// onPeer wakes the watch when a process may have ended.
func (n *Node) onPeer(e peer.Event) {
	if e.Kind == peer.Refused || e.Kind == peer.OtherNonce {
		select {
		case n.suspected <- struct{}{}:
		default:
		}
	}
}

// leaderWatch is what watchLeader remembers.
type leaderWatch struct {
	n       *Node
	began   time.Time // the last election
	term    uint64    // of the claim for which it was
	yields  time.Time // since when an election is left to another node
	yielded uint64    // the claim's term for which it is
	looked  time.Time // the last look at the leader
	awake   time.Time // since when this process has run without a gap
	commit  int64     // as it was seen to move last
	moved   time.Time
	handed  time.Time
}

// watchLeader starts an election at once when the leader's process is gone, and hands over when this node leads and cannot.
func (n *Node) watchLeader(ctx context.Context) error {
	w := &leaderWatch{n: n, moved: time.Now()}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.suspected:
		case <-tick.C:
		}
		if len(n.meta.Status().Voters.Members) > 1 {
			w.considerElection(ctx)
			w.considerHandOver()
		}
	}
}

// considerElection begins an election if the process that made the last claim is gone and a majority says so.
func (w *leaderWatch) considerElection(ctx context.Context) {
	n := w.n
	w.look(time.Now())
	claim := n.members.Claim()
	if claim.Term == 0 {
		w.considerFirst()
		return
	}
	if claim.Term == w.term || claim.NodeID == n.id.NodeID || !w.began.IsZero() && time.Since(w.began) < electOnceIn {
		return
	}
	if leader, ok := n.members.Leader(); ok && leader.NodeID != claim.NodeID {
		return // there is another one already
	}
	s := suspicion{Node: claim.NodeID, Nonce: claim.BootNonce}
	if !n.processGone(s) {
		if s.Silent = w.silent(time.Now(), n.broker.silent(s.Node)); !s.Silent {
			return
		}
	}
	if !n.agreed(ctx, s) {
		return
	}
	select {
	case <-time.After(time.Duration(n.rank(claim.NodeID)) * rankDelay):
	case <-ctx.Done():
		return
	}
	if leader, ok := n.members.Leader(); n.members.Claim() != claim || ok && leader.NodeID != claim.NodeID {
		return
	}
	if w.yield(n.members.ElectionTerm() > claim.Term || n.doubts.askedBefore(s, n.id.NodeID), claim.Term, time.Now()) {
		return // this is called again soon
	}
	w.began, w.term = time.Now(), claim.Term
	n.logger.Info("leader is gone or silent, starting an election", "silent", s.Silent, "node", claim.NodeID, "term", claim.Term)
	n.members.ElectNow()
}

// look notes that this process runs.
func (w *leaderWatch) look(now time.Time) {
	if now.Sub(w.looked) > ownTickGap {
		w.awake = now
	}
	w.looked = now
}

// silent reports whether a leader of which nothing has come for so long is silent. What this process itself has slept does not count.
func (w *leaderWatch) silent(now time.Time, heardNothing time.Duration) bool {
	return min(heardNothing, now.Sub(w.awake)) >= leaderSilence
}

// yield reports whether the election is to be left to another node, which has asked for votes or is about to. Two elections at once cost
// more than either: the second ends the first one's lead, and Raft then waits for its own timeout. The patience is for an election on
// a busy machine; after it, this node begins one of its own.
func (w *leaderWatch) yield(another bool, term uint64, now time.Time) bool {
	if !another {
		return false
	}
	if w.yielded != term {
		w.yielded, w.yields = term, now
	}
	return now.Sub(w.yields) < electPatience
}

// doubts are the questions of other voters whether a process is gone. Who asks begins an election if enough say so; of several the one
// with the lowest id is to. It belongs to all goroutines.
type doubts struct {
	mu    sync.Mutex // guards the rest
	about suspicion
	by    []int32
}

func (d *doubts) ask(s suspicion, by int32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.about != s {
		d.about, d.by = s, nil
	}
	if !slices.Contains(d.by, by) {
		d.by = append(d.by, by)
	}
}

// askedBefore reports whether a node before this one has asked about the process.
func (d *doubts) askedBefore(s suspicion, self int32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.about == s && slices.ContainsFunc(d.by, func(id int32) bool { return id < self })
}

// considerFirst begins the first election of a cluster as soon as all founders are there: nobody has anything to lose by it.
func (w *leaderWatch) considerFirst() {
	n := w.n
	if _, ok := n.members.Leader(); ok || n.rank(noNode) != 0 || !w.began.IsZero() {
		return
	}
	for _, p := range n.mesh.Peers() {
		if !p.Out || !p.In || p.Hello.Founding {
			return
		}
	}
	w.began = time.Now().Add(-electOnceIn) // it does not count against the next one
	n.members.ElectNow()
}

// processGone reports whether a process has certainly ended: nobody listens on either of its ports and all its connections are closed, or
// the node has been met as another process since.
func (n *Node) processGone(s suspicion) bool {
	p := n.mesh.Peer(s.Node)
	if p.Hello.Nonce != 0 && p.Hello.Nonce != s.Nonce {
		return p.Out || p.In // met later, as the newest process is the one that is remembered
	}
	if !p.Gone() {
		return false
	}
	for _, m := range n.members.Members() {
		if m.NodeID != s.Node {
			continue
		}
		conn, err := net.DialTimeout("tcp", m.Address, probeWithin)
		if err == nil {
			_ = conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	return false
}

// agreed asks the other voters, and reports whether a majority with this node says that the process is gone, or silent if that is the
// question.
func (n *Node) agreed(ctx context.Context, s suspicion) bool {
	within := agreeWithin
	if s.Silent {
		within = agreeSilent
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	question, err := json.Marshal(s)
	if err != nil {
		return false
	}
	voters := n.meta.Status().Voters
	if !voters.Has(n.self()) {
		return false
	}
	var mu sync.Mutex
	yes := 1
	var wg sync.WaitGroup
	for _, v := range voters.Members {
		if v.NodeID == n.id.NodeID || v.NodeID == s.Node {
			continue
		}
		wg.Go(func() {
			answer, err := n.mesh.Call(ctx, v.NodeID, peer.MethodSuspect, question)
			if err == nil && (string(answer) == answerGone || s.Silent && string(answer) == answerSilent) {
				mu.Lock()
				yes++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return yes >= voters.Majority()
}

// handleSuspect says what this node knows of a process, having looked again if it is not sure.
func (n *Node) handleSuspect(ctx context.Context, from *peer.Hello, payload []byte) ([]byte, error) {
	var s suspicion
	if err := json.Unmarshal(payload, &s); err != nil {
		return nil, fmt.Errorf("read suspicion: %w", err)
	}
	if n.members == nil || n.broker == nil {
		return []byte("unknown"), nil
	}
	within := probeWithin
	if s.Silent {
		within /= 2
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for n.mesh.Probe(s.Node); ; {
		if n.processGone(s) {
			n.doubts.ask(s, from.Member.NodeID)
			return []byte(answerGone), nil
		}
		select {
		case <-ctx.Done(): // having looked for a while: what has come meanwhile is read
			if s.Silent && n.broker.silent(s.Node) >= silenceAgreed {
				n.doubts.ask(s, from.Member.NodeID)
				return []byte(answerSilent), nil
			}
			return []byte(answerAlive), nil
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// rank is this node's place among the voters that are left.
func (n *Node) rank(without int32) int {
	var ids []int32
	for _, v := range n.meta.Status().Voters.Members {
		if v.NodeID != without {
			ids = append(ids, v.NodeID)
		}
	}
	slices.Sort(ids)
	return max(0, slices.Index(ids, n.id.NodeID))
}

// considerHandOver gives the lead away when Raft has it here and the metadata log gets nowhere: its disk or port is stuck, or it cannot
// recover.
func (w *leaderWatch) considerHandOver() {
	n := w.n
	now := time.Now()
	st := n.meta.Status()
	idle := st.Role == metalog.RoleLeader && st.Commit == st.End && !st.Contested
	if !n.members.Leading() || idle || st.Commit != w.commit {
		w.commit, w.moved = st.Commit, now
		return
	}
	if now.Sub(w.moved) < stuckFor || now.Sub(w.handed) < handOverEvery {
		return
	}
	w.handed = now
	to, ok := n.bestPeer(&st)
	if !ok {
		return
	}
	n.logger.Warn("cannot lead, handing over", "to", to.NodeID, "role", st.Role, "commit", st.Commit, "end", st.End, "contested", st.Contested)
	if err := n.members.HandOver(to.NodeID, to.DiskID); err != nil {
		n.logger.Warn("not handed over", "err", err)
	}
}

// bestPeer is the reachable voter that is known to have most of the log, or, if none can be reached at the wal port, one of the others:
// Raft may reach it.
func (n *Node) bestPeer(st *metalog.Status) (best membership.Member, ok bool) {
	match := int64(-1)
	var away []metalog.Member
	for _, v := range st.Voters.Members {
		p := n.mesh.Peer(v.NodeID)
		if v == n.self() {
			continue
		}
		if !p.Out && !p.In {
			away = append(away, v)
			continue
		}
		has := int64(0)
		for _, f := range st.Followers {
			if f.Member == v && !f.Faulty {
				has = f.Match
			}
		}
		if has > match {
			best, match, ok = membership.Member{NodeID: v.NodeID, DiskID: v.DiskID}, has, true
		}
	}
	if !ok && len(away) > 0 {
		v := away[rand.IntN(len(away))]
		best, ok = membership.Member{NodeID: v.NodeID, DiskID: v.DiskID}, true
	}
	return best, ok
}
