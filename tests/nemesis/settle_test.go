package nemesis

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/chronik-io/chronik/internal/metadata"
)

const (
	settleWithin = 30 * time.Second
	quiet        = 400 * time.Millisecond
	checkWithin  = 90 * time.Second // for porcupine and one key
	verifyWithin = 60 * time.Second
)

// topicState is what an image says of a key.
type topicState struct {
	id    [16]byte
	value int64
}

// tally is what the checks of a run have found.
type tally struct {
	keys, ops             int // histories and operations given to porcupine
	ok, illegal, undecide int
	lost, resurrected     int
	changed               int                   // of unknown outcome, and after its generation
	kept                  map[string]topicState // present at the end of their generation
	open                  map[string]bool       // keys with operations of unknown outcome
	deleted               map[[16]byte]string   // ids whose deletion was acknowledged
	settled               []time.Duration
	longestCheck          time.Duration
}

func newTally() *tally {
	return &tally{kept: map[string]topicState{}, open: map[string]bool{}, deleted: map[[16]byte]string{}}
}

// settle waits for rest, asks every broker for every key, and checks the generation's histories and images.
func (r *run) settle(generation int, h *history) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	began := time.Now()
	images, err := r.observer.Settle(ctx, quiet)
	if err != nil {
		r.t.Fatal(err)
	}
	r.tally.settled = append(r.tally.settled, time.Since(began)-quiet)
	for _, c := range r.load.clients {
		for k := range keys {
			for _, kind := range []kind{lookup, read} {
				o := &op{key: keyName(generation, k), client: c.id, kind: kind, latest: true}
				c.do(o)
				if o.result == unknown || o.result == nothing {
					r.t.Errorf("node %d at rest does not answer: %s", c.node+1, o)
				}
				h.add(o)
			}
		}
	}
	for key, ops := range h.byKey() {
		r.checkKey(key, ops)
		for n, im := range images {
			r.checkImage(n+1, im, key, ops)
		}
		if s, ok := stateIn(images[0], key); ok {
			r.tally.kept[key] = s
		}
	}
	r.checkEarlier(images, generation)
	r.verify()
}

// checkKey gives one history to porcupine.
func (r *run) checkKey(key string, ops []*op) {
	history := operations(ops)
	began := time.Now()
	res := porcupine.CheckOperationsTimeout(keyModel, history, checkWithin)
	r.tally.longestCheck = max(r.tally.longestCheck, time.Since(began))
	r.tally.keys++
	r.tally.ops += len(history)
	switch res {
	case porcupine.Ok:
		r.tally.ok++
		return
	case porcupine.Unknown:
		r.tally.undecide++
		r.t.Errorf("%s: porcupine did not decide on %d operations within %v", key, len(history), checkWithin)
	case porcupine.Illegal:
		r.tally.illegal++
		r.t.Errorf("%s: the history of %d operations is not linearizable:\n%s", key, len(history), story(history))
	}
}

// story is a history to read: what was not answered at all is left out.
func story(history []porcupine.Operation) string {
	var b strings.Builder
	for _, o := range history {
		b.WriteString(o.Input.(*op).String() + "\n")
	}
	return b.String()
}

func stateIn(im *metadata.Image, key string) (topicState, bool) {
	t := im.Topic(key)
	if t == nil {
		return topicState{}, false
	}
	value, _ := strconv.ParseInt(im.Config(metadata.ResourceTopic, key)[setting], 10, 64) // absent is 0
	return topicState{t.ID, value}, true
}

// checkImage compares a node's image with what was acknowledged, without porcupine: what was created is there unless somebody tried to
// delete it, and what was deleted is not.
func (r *run) checkImage(node int, im *metadata.Image, key string, ops []*op) {
	s, there := stateIn(im, key)
	for _, o := range ops {
		switch {
		case o.kind == remove && o.result == done:
			r.tally.deleted[o.id] = key
			if there && s.id == o.id {
				r.tally.resurrected++
				r.t.Errorf("node %d: %s with id %x was deleted, and is there", node, key, o.id)
			}
		case o.result == unknown && o.kind <= alter:
			r.tally.open[key] = true
		case o.kind == create && o.result == done && !(there && s.id == o.id) && !mayBeDeleted(ops, o):
			r.tally.lost++
			r.t.Errorf("node %d: %s with id %x was created, nobody deleted it, and it is not there", node, key, o.id)
		}
	}
}

// mayBeDeleted is whether a deletion that was acknowledged names the topic, or one of unknown outcome may have been of it, late as it may be.
func mayBeDeleted(ops []*op, created *op) bool {
	for _, o := range ops {
		if o.kind == remove && (o.result == done && o.id == created.id || o.result == unknown) {
			return true
		}
	}
	return false
}

// checkEarlier compares the images with how earlier generations ended.
func (r *run) checkEarlier(images []*metadata.Image, generation int) {
	for n, im := range images {
		for id, key := range r.tally.deleted {
			if t := im.TopicByID(id); t != nil {
				r.tally.resurrected++
				r.t.Errorf("node %d: id %x of %s was deleted, and is there as %s", n+1, id, key, t.Name)
			}
		}
		for key, kept := range r.tally.kept {
			now, there := stateIn(im, key)
			switch {
			case there && now == kept:
			case r.tally.open[key]:
				r.tally.changed++
			default:
				r.tally.lost++
				r.t.Errorf("node %d in generation %d: %s was %x with value %d at rest, and is %x with %d (there: %v)", n+1, generation, key, kept.id, kept.value, now.id, now.value, there)
			}
		}
	}
}

// verify runs the tool that an operator would run.
func (r *run) verify() {
	ctx, cancel := context.WithTimeout(context.Background(), verifyWithin)
	defer cancel()
	args := []string{"metadata", "verify", "-b", strings.Join(r.cluster.Addresses(), ",")}
	if out, err := exec.CommandContext(ctx, r.tool, args...).CombinedOutput(); err != nil {
		r.t.Errorf("chronikctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
