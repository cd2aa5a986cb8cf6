package clients

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	killedPartitions = 6
	killedKeys       = 12
	patience         = time.Minute // for what takes a second on a machine that has nothing else to do
)

// Three nodes are killed one after the other (kills.sh), while a producer waits for the acknowledgement of each few records and a member of
// a group reads and commits. What was acknowledged is there, of an idempotent producer once and in order; the group reads all of it, and
// begins where it committed. One library after the other: of three nodes only one may be dead at a time.
func TestNodesKilled(t *testing.T) {
	if os.Getenv("CHRONIK_NODES") == "" {
		t.Skip("CHRONIK_NODES is not set: run tests/clients/run.sh 3")
	}
	for _, l := range libraries {
		t.Run(l.name, func(t *testing.T) { nodesKilled(t, l) })
	}
}

func nodesKilled(t *testing.T, l library) {
	topic := createTopic(t, killedPartitions)
	group := topic + "-group"
	p := l.newProducer(t, bootstrap(t), producerOptions{codec: "none", idempotent: !l.noIdempotence})
	defer p.close()
	c := l.newConsumer(t, bootstrap(t), group, topic)
	w := &writer{p: p, topic: topic}
	w.batch(t)
	r := &reader{c: c, seen: map[int]int{}}
	r.readAll(t, w.next) // there are a group and its coordinator now
	stop, written, read := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		for {
			select {
			case <-stop:
				return
			default:
				w.batch(t)
			}
		}
	}()
	go func() { defer close(read); r.readUntil(t, written, &w.next) }()
	out, err := exec.Command("./kills.sh", topic, group).CombinedOutput()
	close(stop)
	<-written
	<-read
	t.Logf("%s%d records; %d batches not acknowledged at first, %d commits refused", out, w.next, w.refused, r.refused)
	if err != nil {
		t.Fatalf("kills.sh: %v", err)
	}
	if t.Failed() {
		return
	}
	checkLog(t, topic, w, !l.noIdempotence)
	r.commitAll(t, topic, group)
	c.close()
	from := w.next
	w.batch(t)
	c = l.newConsumer(t, bootstrap(t), group, topic)
	defer c.close()
	later := &reader{c: c, seen: map[int]int{}}
	later.readAll(t, w.next-from)
	for n := range later.seen {
		if n < from {
			t.Errorf("record %d is read again, although offsets beyond it were committed", n)
		}
	}
}

// writer sends numbers, a few at a time, and waits until they are acknowledged.
type writer struct {
	p       producer
	topic   string
	next    int
	again   []bool // by number: it was sent again, as its first attempt ended in an error; it may be there twice
	refused int
}

func (w *writer) batch(t *testing.T) {
	var all []message
	for range killedKeys {
		all = append(all, message{key: fmt.Sprint(w.next % killedKeys), value: fmt.Sprint(w.next)})
		w.next++
		w.again = append(w.again, false)
	}
	deadline := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := w.p.send(ctx, w.topic, all)
		cancel()
		if err == nil {
			time.Sleep(5 * time.Millisecond)
			return
		}
		if w.refused++; time.Now().After(deadline) {
			t.Errorf("record %d: not acknowledged in %v: %v", w.next-1, patience, err)
			return
		}
		t.Logf("at %s: records to %d: %v", time.Now().Format(time.TimeOnly), w.next-1, err)
		for i := range all {
			w.again[w.next-1-i] = true
		}
	}
}

// reader is a member of a group that commits every now and then.
type reader struct {
	c       consumer
	seen    map[int]int
	refused int // commits: what is not committed is read again
}

// readUntil reads until what was written at the end, when done is closed, has been read.
func (r *reader) readUntil(t *testing.T, done <-chan struct{}, end *int) {
	last := time.Now()
	for {
		select {
		case <-done:
			r.readAll(t, *end)
			return
		default:
		}
		r.poll(t, time.Second)
		if time.Since(last) > 300*time.Millisecond {
			last = time.Now()
			r.commit(t)
		}
	}
}

// readAll reads until count different records have been read.
func (r *reader) readAll(t *testing.T, count int) {
	for deadline := time.Now().Add(patience); len(r.seen) < count; {
		if time.Now().After(deadline) {
			t.Errorf("after %v the group has read %d of %d records", patience, len(r.seen), count)
			return
		}
		r.poll(t, time.Second)
	}
}

func (r *reader) poll(t *testing.T, d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	some, err := r.c.poll(ctx)
	if err != nil && ctx.Err() == nil {
		t.Logf("at %s: poll: %v", time.Now().Format(time.TimeOnly), err)
		time.Sleep(100 * time.Millisecond)
	}
	for _, m := range some {
		n, err := strconv.Atoi(m.value)
		if err != nil {
			t.Errorf("read %q, which nobody wrote", m.value)
			return
		}
		r.seen[n]++
	}
}

func (r *reader) commit(t *testing.T) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.c.commit(ctx); err != nil {
		r.refused++
		t.Logf("at %s: commit: %v", time.Now().Format(time.TimeOnly), err)
		return false
	}
	return true
}

// commitAll commits the ends of all partitions. A member that a rebalance put back reads the rest again before.
func (r *reader) commitAll(t *testing.T, topic, group string) {
	a := admin(t)
	ends, err := a.ListEndOffsets(within(t, patience), topic)
	if err != nil {
		t.Fatal(err)
	}
	var behind []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); r.poll(t, 200*time.Millisecond) {
		r.commit(t)
		committed, err := a.FetchOffsets(within(t, patience), group)
		if err != nil {
			t.Fatal(err)
		}
		behind = nil
		ends.Each(func(e kadm.ListedOffset) {
			if at, ok := committed.Lookup(topic, e.Partition); e.Offset > 0 && (!ok || at.At != e.Offset) {
				behind = append(behind, fmt.Sprintf("partition %d: committed %d, end %d", e.Partition, at.At, e.Offset))
			}
		})
		if behind == nil {
			return
		}
	}
	t.Errorf("not committed in %v: %s", patience, strings.Join(behind, ", "))
}

// checkLog reads the topic from its beginning to its end: every acknowledged number is there; if exact, once, and in order of its key.
func checkLog(t *testing.T, topic string, w *writer, exact bool) {
	t.Helper()
	ends, err := admin(t).ListEndOffsets(within(t, patience), topic)
	if err != nil {
		t.Fatal(err)
	}
	var left int64
	ends.Each(func(e kadm.ListedOffset) { left += e.Offset })
	c, err := kgo.NewClient(kgo.SeedBrokers(bootstrap(t)...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	found := make([]int, w.next)
	last := map[string]int{}
	ctx := within(t, patience)
	for left > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d records are left to read: %v", left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			n, err := strconv.Atoi(string(r.Value))
			if err != nil || n >= w.next {
				t.Fatalf("offset %d of partition %d is %q, which nobody wrote", r.Offset, r.Partition, r.Value)
			}
			found[n]++
			if before, ok := last[string(r.Key)]; exact && !w.again[n] && ok && n < before {
				t.Errorf("record %d comes after record %d of the same key", n, before)
			}
			last[string(r.Key)] = n
		})
	}
	twice := 0
	for n, times := range found {
		switch {
		case times == 0:
			t.Errorf("record %d was acknowledged and is not there", n)
		case times > 1 && exact && !w.again[n]:
			t.Errorf("record %d is there %d times", n, times)
		case times > 1:
			twice++
		}
	}
	t.Logf("%d of %d records are there more than once", twice, w.next)
}
