package sim

import (
	"errors"
	"slices"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/replica"
)

// call is a request to the controller, or its answer, on its way.
type call struct {
	from      *machine
	nonce     uint64
	fromEpoch int64
	change    controller.IsrChange
	proposal  *replica.Proposal
	core      *replica.LeaderCore
	p         int
	answer    bool
	err       error
}

// tick is a leader looking after its ISR.
func (w *plane) tick(r *preplica) {
	c := r.leading
	if c == nil || !r.leads {
		return
	}
	for _, l := range r.links {
		c.Heard(l.to, r.m.heard[l.to], w.now)
	}
	had := c.Pending()
	p := c.Propose(w.now)
	w.checkLoss(r, had, p)
	if p == nil || w.failure != "" {
		return
	}
	br := w.imageOf(r.m).Broker(r.m.id)
	t, _ := w.history.partition(r.m.view, r.p)
	ch := controller.IsrChange{TopicID: t.ID, Partition: int32(r.p), LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
		ISR: slices.Clone(p.ISR), BrokerEpochs: slices.Clone(p.BrokerEpochs),
		Lost: slices.Clone(p.Lost), Resign: p.Resign}
	w.trace("node %d proposes for partition %d: %+v, epochs %d/%d", r.m.id, r.p, p.ISR, p.LeaderEpoch, p.PartitionEpoch)
	w.Some.Proposed++
	if had {
		w.Some.ProposedAgain++
	}
	w.send(&call{from: r.m, nonce: r.m.nonce, fromEpoch: br.Epoch, change: ch, proposal: p, core: c, p: r.p})
}

const maxCalls = 60

func (w *plane) send(c *call) {
	if len(w.calls) >= maxCalls {
		w.calls[w.rng.IntN(len(w.calls))] = c
		return
	}
	w.calls = append(w.calls, c)
}

// deliverCall brings a request to a controller, or an answer back; some come twice.
func (w *plane) deliverCall(i int, again bool) {
	c := w.calls[i]
	if !again {
		last := len(w.calls) - 1
		w.calls[i] = w.calls[last]
		w.calls[last] = nil
		w.calls = w.calls[:last]
	}
	if c.answer {
		w.hearController(c)
		return
	}
	if at := w.pickController(); at >= 0 {
		w.changeISR(at, c)
	}
}

func (w *plane) changeISR(at int, call0 *call) {
	ch := call0.change
	from := call0.fromEpoch
	im := w.working(at)
	t := im.Topic(planeTopic)
	if t == nil {
		return
	}
	if p := t.Partition(ch.Partition); w.o.Bugs&bugNoPartitionEpoch != 0 && ch.LeaderEpoch == p.LeaderEpoch {
		ch.PartitionEpoch = p.PartitionEpoch
	}
	if w.o.Bugs&bugAlterAnyIncarnation != 0 {
		ch.BrokerEpochs = slices.Clone(ch.BrokerEpochs)
		for i, id := range ch.ISR {
			ch.BrokerEpochs[i] = im.Broker(id).Epoch
		}
	}
	w.control(at, func(c *controller.Controller) func() {
		results, err := c.ChangeIsr(background, call0.from.id, from, []controller.IsrChange{ch})
		if err != nil {
			return nil
		}
		w.trace("controller %d on the ISR %v of partition %d proposed by %d: %v", at, ch.ISR, ch.Partition, call0.from.id, results[0])
		switch {
		case errors.Is(results[0], controller.ErrStalePartitionEpoch):
			w.Some.StalePartitionEpoch++
		case errors.Is(results[0], controller.ErrIneligibleReplica):
			w.Some.Ineligible++
		}
		back := *call0
		back.answer, back.err = true, results[0]
		return func() { w.send(&back) }
	})
}

// hearController takes in the outcome of a proposal.
func (w *plane) hearController(c *call) {
	if !c.from.up || c.from.nonce != c.nonce || c.err == nil {
		return
	}
	if r := c.from.replicas[c.p]; r == nil || r.leading != c.core {
		return
	}
	definite := errors.Is(c.err, controller.ErrIneligibleReplica) || errors.Is(c.err, controller.ErrInvalidRequest)
	if definite || w.o.Replica&replica.BugStaleClears != 0 {
		c.core.Rejected(c.proposal)
		w.Some.Rejected++
	}
}

// register makes a machine's process known, as it asks for again and again until it sees itself.
func (w *plane) register(m *machine, at int) {
	im := w.working(at)
	if !m.up || im == nil {
		return
	}
	disk, old := m.diskID, im.Broker(m.id)
	if old != nil && m.wiped && (w.o.Bugs&bugWipedStaysISR != 0 || w.o.Bugs&bugWipedStaysELR != 0 && w.inELROnly(im, m.id)) {
		disk = old.DiskID
	}
	reg := controller.Registration{BrokerID: m.id, Incarnation: m.inc, DiskID: disk, Fenced: true,
		Endpoints: []metadata.Endpoint{{Listener: metadata.ListenerKafka, Host: "h", Port: 1}}}
	w.control(at, func(c *controller.Controller) func() {
		_, err := c.RegisterBroker(background, reg)
		w.trace("controller %d: node %d registers: %v", at, m.id, err)
		nonce, on := m.nonce, m.diskID
		return func() { // the answer may come when the process has ended, and its disk is gone
			if err == nil && m.nonce == nonce && m.diskID == on {
				m.wiped = false
			}
		}
	})
}

func (w *plane) inELROnly(im *metadata.Image, id int32) bool {
	found := false
	if t := im.Topic(planeTopic); t != nil {
		for _, p := range t.Partitions {
			if p.InISR(id) {
				return false
			}
			found = found || p.InELR(id)
		}
	}
	return found
}

// serve puts a broker that sees itself into service.
func (w *plane) serve(m *machine, at int) {
	im := w.working(at)
	if !m.up || !m.registered || im == nil {
		return
	}
	br := im.Broker(m.id)
	if br == nil || br.Incarnation != m.inc || !br.Fenced {
		return
	}
	w.control(at, func(c *controller.Controller) func() {
		err := c.UnfenceBroker(background, m.id, br.Epoch)
		w.trace("controller %d puts node %d into service: %v", at, m.id, err)
		return nil
	})
}

// fence takes a broker out of service.
func (w *plane) fence(m *machine, at int) {
	im := w.working(at)
	if im == nil {
		return
	}
	br := im.Broker(m.id)
	if br == nil {
		return
	}
	w.control(at, func(c *controller.Controller) func() {
		err := c.FenceBroker(background, m.id, br.Epoch)
		w.trace("controller %d fences node %d: %v", at, m.id, err)
		if err == nil && w.o.Bugs&bugUncleanElection != 0 {
			w.electUnclean(c)
		}
		return nil
	})
}

func (w *plane) electUnclean(c *controller.Controller) bool {
	results, err := c.ElectLeaders(background, controller.ElectUnclean, nil)
	if err != nil {
		return false
	}
	for _, r := range results {
		if r.Err == nil {
			return true
		}
	}
	return false
}

func (w *plane) resign(m *machine, at int) {
	im := w.working(at)
	if im == nil || !m.up || im.Broker(m.id) == nil || im.Broker(m.id).Incarnation != m.inc {
		return
	}
	w.Some.Resigned++
	w.control(at, func(c *controller.Controller) func() {
		err := c.ResignBroker(background, m.id, im.Broker(m.id).Epoch)
		w.trace("controller %d: node %d resigns: %v", at, m.id, err)
		return nil
	})
}

// rebalance gives a partition back to its preferred leader.
func (w *plane) rebalance(at int) {
	w.control(at, func(c *controller.Controller) func() {
		_, _ = c.ElectLeaders(background, controller.ElectPreferred, nil)
		return nil
	})
}

// changeMin changes min.insync.replicas of the topic between 1 and 2.
func (w *plane) changeMin(at int) {
	im := w.working(at)
	if im == nil || im.Topic(planeTopic) == nil {
		return
	}
	v := "1"
	if controller.MinISR(im, planeTopic, 3) == 1 {
		v = "2"
	}
	w.control(at, func(c *controller.Controller) func() {
		results, err := c.IncrementalAlterConfigs(background, []controller.ResourceChanges{{Resource: metadata.Resource{Type: metadata.ResourceTopic,
			Name: planeTopic}, Changes: []controller.ConfigChange{{Name: "min.insync.replicas", Op: controller.OpSet, Value: &v}}}}, false)
		if err == nil {
			w.trace("controller %d sets min.insync.replicas to %s: %v", at, v, results[0])
			if results[0] == nil {
				w.Some.MinChanged++
			} else {
				w.Some.MinRefused++
			}
		}
		return nil
	})
}
