package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/membership"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/peer"
	"github.com/chronik-io/chronik/internal/version"
)

// admitTimeout bounds how long a handshake waits for the metadata log.
const admitTimeout = time.Second

// newMesh makes this node's end of the wal ports. Until the node has joined it only founds.
func (n *Node) newMesh() *peer.Mesh {
	m := peer.New(peer.Options{
		Listener: n.ports.wal,
		Hello:    func() peer.Hello { return *n.hello.Load() },
		Addr:     n.walAddress,
		Admit:    n.admit,
		Logger:   n.logger,
	})
	m.Watch(n.onPeer)
	return m
}

// found waits until this node, which is empty, has founded or adopted the cluster of its [[peers]].
func (n *Node) found(ctx context.Context) error {
	f := &founder{fs: n.disk, dir: n.c.DataDir, self: n.c.NodeID, peers: slices.Clone(n.c.Peers), call: n.mesh.Call,
		nowMs: func() int64 { return time.Now().UnixMilli() }, logger: n.logger}
	if err := openFounder(f); err != nil {
		return err
	}
	n.hello.Store(&peer.Hello{Member: f.member(), Nonce: n.nonce, Version: version.Version, Founding: true})
	n.mesh.Handle(methodFoundState, f.handleState)
	n.mesh.Handle(methodFoundPledge, f.handlePledge)
	n.mesh.SetPeers(n.others(nil))
	n.run("mesh", n.mesh.Run)
	return f.run(ctx)
}

// join lets the other nodes know who this process is now, and keeps connections to all of them.
func (n *Node) join() {
	founding := n.hello.Load() != nil
	n.hello.Store(&peer.Hello{ClusterID: n.id.ClusterID, Genesis: n.genesis.Hash(), Member: n.self(), Boot: n.id.Boot, Nonce: n.nonce,
		Boots: n.meta.Boots(), Version: version.Version})
	settled := &founder{self: n.id.NodeID, disk: n.id.DiskID, genesis: n.genesis}
	n.mesh.Handle(methodFoundState, settled.handleState)
	n.mesh.Handle(methodFoundPledge, settled.handlePledge)
	n.mesh.Handle(peer.MethodRegister, n.handleRegister)
	n.mesh.Handle(peer.MethodSuspect, n.handleSuspect)
	n.mesh.Handle(peer.MethodAlive, handleAlive)
	n.mesh.SetPeers(n.others(n.meta.Image()))
	if founding {
		n.mesh.Renew()
	} else {
		n.run("mesh", n.mesh.Run)
	}
}

// others are the nodes to keep connections to: the founders, who vote, and all brokers. Before there is a genesis those of the
// configuration.
func (n *Node) others(im *metadata.Image) []int32 {
	var ids []int32
	add := func(id int32) {
		if id != n.c.NodeID && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if n.genesis == nil {
		for _, p := range n.c.Peers {
			add(p.ID)
		}
		return ids
	}
	for _, v := range n.meta.Status().Voters.Members {
		add(v.NodeID)
	}
	for b := range im.Brokers() {
		add(b.ID)
	}
	return ids
}

// walAddress is where a node's wal port is: as it has registered, as the cluster was founded, or as the configuration hints.
func (n *Node) walAddress(id int32) string {
	if n.hello.Load() != nil && !n.hello.Load().Founding { // from then on meta and genesis are set
		if b := n.meta.Image().Broker(id); b != nil {
			if e, ok := b.Endpoint(metadata.ListenerWAL); ok {
				return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
			}
		}
		if f := n.genesis.find(id); f != nil && f.WAL != "" {
			return f.WAL
		}
	}
	for _, p := range n.c.Peers {
		if p.ID == id {
			return p.WAL
		}
	}
	return ""
}

// admit says whether a process of this cluster is the one that its node id stands for.
func (n *Node) admit(h *peer.Hello) error {
	for _, v := range n.meta.Status().Voters.Members {
		if v.NodeID == h.Member.NodeID && v.DiskID != h.Member.DiskID {
			return &peer.Refusal{Code: peer.RefusedDisk, Text: "node " + strconv.Itoa(int(v.NodeID)) + " is a member with disk " + v.DiskID.String() +
				", not with " + h.Member.DiskID.String() + ": put that disk's directory back as it was when it last ran, see docs/operations.md"}
		}
	}
	if last := len(h.Boots) - 1; last < 0 || h.Boots[last].Member != h.Member || h.Boots[last].Boot != h.Boot || h.Boots[last].Nonce != h.Nonce {
		return &peer.Refusal{Code: peer.RefusedIdentity, Text: "its starts do not end with this one"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), admitTimeout)
	defer cancel()
	ok, err := n.meta.Handshake(ctx, h.Boots)
	switch {
	case err != nil:
		return errors.Join(errors.New("the metadata log does not answer"), err)
	case !ok:
		return n.ban(h)
	}
	return nil
}

// ban refuses a process whose disk does not know what the disk has said before. Others on that disk are not heard any more either; they
// learn of it when they are refused too. The one that is registered keeps its connections, as a broker it is still the one it was.
func (n *Node) ban(h *peer.Hello) *peer.Refusal {
	what := "was put back to an older state, or another process has run on a copy of it"
	if p := n.mesh.Peer(h.Member.NodeID); (p.In || p.Out) && p.Hello.Member == h.Member && p.Hello.Nonce != h.Nonce {
		what = "has a copy on which another process runs now (stop one of them)"
	}
	keep := uint64(0)
	if b := n.meta.Image().Broker(h.Member.NodeID); b != nil {
		keep = controller.NonceOf(b.Incarnation)
	}
	n.mesh.HangUp(h.Member, keep)
	n.banVoter(h.Member)
	return &peer.Refusal{Code: peer.RefusedBoot, Text: fmt.Sprintf("the disk of node %d %s: what it had promised is not known there, so nothing that runs on it is heard "+
		"any more, its newest directory included; see docs/operations.md", h.Member.NodeID, what)}
}

// banVoter keeps a disk that the metadata log does not hear out of the election too.
func (n *Node) banVoter(m peer.Member) {
	n.bansMu.Lock()
	defer n.bansMu.Unlock()
	if n.electing == nil {
		if !slices.Contains(n.bans, m) { // it comes again and again
			n.bans = append(n.bans, m) // for startElection
		}
		return
	}
	n.electing.Ban(membership.Member{NodeID: m.NodeID, DiskID: m.DiskID})
}

// followImage keeps connections to all brokers. It is called for each new image.
func (n *Node) followImage(old, cur *metadata.Image, _ *metadata.Delta) {
	if !sameBrokers(old, cur) {
		n.mesh.SetPeers(n.others(cur))
		n.poke()
	}
}

// sameBrokers compares the incarnations in two images.
func sameBrokers(a, b *metadata.Image) bool {
	if a.BrokerCount() != b.BrokerCount() {
		return false
	}
	for x := range b.Brokers() {
		if y := a.Broker(x.ID); y != x && (y == nil || y.Epoch != x.Epoch || y.Fenced != x.Fenced) {
			return false
		}
	}
	return true
}

// poke wakes whoever waits for the image or the controller.
func (n *Node) poke() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}
