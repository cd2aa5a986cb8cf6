package sim

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/replica"
	"github.com/chronik-io/chronik/internal/uuid"
)

// planeTopic is the one topic of a run.
const planeTopic = "t"

// history is the committed metadata: one image for each proposal that was committed.
type history struct {
	images []*metadata.Image
	ends   []int64           // the log offset after each
	views  [][]*replica.View // by version and partition
}

func (h *history) head() int { return len(h.images) - 1 }

// partition is a partition as a version has it; nil where it has none.
func (h *history) partition(version, p int) (*metadata.Topic, *metadata.Partition) {
	if version < 0 {
		return nil, nil
	}
	t := h.images[version].Topic(planeTopic)
	if t == nil {
		return nil, nil
	}
	return t, t.Partition(int32(p))
}

func (h *history) view(version, p int) *replica.View {
	if version < 0 || p >= len(h.views[version]) {
		return nil
	}
	return h.views[version][p]
}

// commit adds a version and looks at what it says.
func (w *plane) commit(im *metadata.Image, end int64) {
	h := &w.history
	before := h.head()
	h.images, h.ends = append(h.images, im), append(h.ends, end)
	var views []*replica.View
	if t := im.Topic(planeTopic); t != nil {
		for n, p := range t.Partitions {
			old := h.view(before, n)
			v := replica.NewView(im, planeTopic, p)
			views = append(views, v)
			w.checkVersion(n, old, v)
		}
	}
	h.views = append(h.views, views)
}

// checkVersion holds the controller's invariants, and takes note of elections.
func (w *plane) checkVersion(n int, old, v *replica.View) {
	c := w.checks[n]
	if v.Leader != noLeader && !slices.Contains(v.ISR, v.Leader) {
		w.fail("partition %d is led by %d, which is not in the ISR %v", n, v.Leader, v.ISR)
	}
	for _, id := range v.ELR {
		if slices.Contains(v.ISR, id) {
			w.fail("ELR %v and ISR %v of partition %d overlap", v.ELR, v.ISR, n)
		}
	}
	if old == nil {
		return
	}
	same := old.Leader == v.Leader && slices.Equal(old.ISR, v.ISR) && slices.Equal(old.ELR, v.ELR)
	switch {
	case v.LeaderEpoch < old.LeaderEpoch || v.LeaderEpoch == old.LeaderEpoch && v.Leader != old.Leader:
		w.fail("partition %d goes from leader %d in epoch %d to %d in %d", n, old.Leader, old.LeaderEpoch, v.Leader, v.LeaderEpoch)
	case v.PartitionEpoch < old.PartitionEpoch || v.PartitionEpoch == old.PartitionEpoch && !same:
		w.fail("partition %d goes from partition epoch %d to %d, with another state", n, old.PartitionEpoch, v.PartitionEpoch)
	}
	if v.Leader != noLeader && v.LeaderEpoch > old.LeaderEpoch {
		w.noteElection(n, c, old, v)
	}
	w.countISR(old, v)
	for i := range v.Members {
		m := &v.Members[i]
		if nonce, ok := c.tainted[m.ID]; ok && m.Nonce > nonce && !slices.Contains(v.ISR, m.ID) && !slices.Contains(v.ELR, m.ID) {
			delete(c.tainted, m.ID) // this incarnation comes into the ISR only when it has caught up
		}
	}
}

func (w *plane) noteElection(n int, c *pchecker, old, v *replica.View) {
	w.Some.Elections++
	switch {
	case v.UncleanEpoch == v.LeaderEpoch && w.o.Bugs&bugUncleanElection == 0:
		w.Some.Unclean++
		c.unclean = v.UncleanEpoch
		clear(c.tainted)
	case c.isTainted(v.Leader):
		w.excused = true // it has lost what it said was durable, and nobody could know yet
		w.Some.Excused++
	case slices.Contains(old.ELR, v.Leader):
		w.Some.ElectedELR++
	}
}

func (w *plane) countISR(old, v *replica.View) {
	for _, id := range v.ISR {
		if !slices.Contains(old.ISR, id) {
			w.Some.Expanded++
		}
	}
	for _, id := range old.ISR {
		if !slices.Contains(v.ISR, id) {
			w.Some.Shrunk++
		}
	}
}

// metaLog is the metadata log as the controller of one node uses it. A proposal is appended at once; when it is committed is the world's
// business, and results that rest on it wait for that.
type metaLog struct {
	w  *plane
	at int // node
	// end is the log's end after the last proposal.
	end int64
}

func (l *metaLog) Image() *metadata.Image { return l.w.working(l.at) }

func (l *metaLog) Propose(_ context.Context, p metalog.Proposal) (int64, error) {
	im := l.w.working(l.at)
	if im == nil {
		return 0, metalog.ErrNotController
	}
	l.end = im.Offset() + 1
	events, err := p(im)
	if err != nil || len(events) == 0 {
		return im.Offset(), err
	}
	b := metadata.NewBatch(im)
	for i, ev := range events {
		if err := b.Apply(im.Offset()+1+int64(i), ev); err != nil {
			l.w.fail("the controller proposes what the image refuses: %v", err)
			return 0, err
		}
	}
	next, _ := b.Done()
	if l.w.full != nil {
		if err := l.w.full.append(l.at, events); err != nil {
			return 0, err
		}
	} else {
		l.w.keepELR(im, next, events)
		l.w.commit(next, next.Offset()+1)
	}
	l.end = next.Offset() + 1
	return next.Offset(), nil
}

// keepELR is what bugMinKeepsELR does to an image: the event clears nothing.
func (w *plane) keepELR(before, after *metadata.Image, events []metadata.Event) {
	if w.o.Bugs&bugMinKeepsELR == 0 {
		return
	}
	if _, ok := events[0].(*metadata.ConfigChanged); !ok || before.Topic(planeTopic) == nil {
		return
	}
	for n, p := range before.Topic(planeTopic).Partitions {
		after.Topic(planeTopic).Partitions[n].ELR = p.ELR
	}
}

// working is the image that the controller at a node decides on; nil if that node is none.
func (w *plane) working(at int) *metadata.Image {
	if w.full != nil {
		return w.full.image(at)
	}
	if h := w.history.head(); h >= 0 {
		return w.history.images[h]
	}
	return metadata.Empty()
}

// control lets a controller decide something; then is called when all it rests on is committed, or never.
func (w *plane) control(at int, do func(c *controller.Controller) (then func())) {
	l := w.logs[at]
	if l.Image() == nil {
		return
	}
	l.end = 0
	then := do(w.controllers[at])
	if then == nil {
		return
	}
	if w.full != nil {
		w.full.await(at, l.end, then)
		return
	}
	then()
}

// pickController is a node that believes to control the metadata; -1 for none.
func (w *plane) pickController() int {
	if w.full == nil {
		return 0
	}
	return w.full.pick()
}

func (w *plane) newController(at int) {
	l := &metaLog{w: w, at: at}
	w.logs = append(w.logs, l)
	w.controllers = append(w.controllers, controller.New(controller.Options{Log: l, NodeID: int32(at), Now: func() time.Time { return time.UnixMilli(w.now) },
		NewID: w.newID}))
}

func (w *plane) newID() uuid.UUID {
	w.ids++
	var id uuid.UUID
	id[0] = 1
	binary.BigEndian.PutUint64(id[8:], w.ids)
	return id
}

var background = context.Background()

// createTopic makes the topic once all brokers are in service.
func (w *plane) createTopic(at int) {
	im := w.working(at)
	if im == nil || im.Topic(planeTopic) != nil || im.BrokerCount() < len(w.machines) {
		return
	}
	for b := range im.Brokers() {
		if b.Fenced {
			return
		}
	}
	one, two := "1", "2"
	t := controller.NewTopic{Name: planeTopic, Partitions: controller.Default, ReplicationFactor: controller.Default}
	t.Configs = []controller.ConfigValue{{Name: "min.insync.replicas", Value: &two}}
	if w.min == 1 {
		t.Configs[0].Value = &one
	}
	for p := range w.parts {
		a := controller.Assignment{Partition: int32(p)}
		for i := range w.machines {
			a.Replicas = append(a.Replicas, int32((i+p)%len(w.machines)))
		}
		t.Assignment = append(t.Assignment, a)
	}
	w.control(at, func(c *controller.Controller) func() {
		if results, err := c.CreateTopics(background, []controller.NewTopic{t}, false); err == nil && results[0].Err != nil {
			w.fail("create topic: %v", results[0].Err)
		}
		return nil
	})
}
