package bench

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

// run is one run of the tool.
type run struct {
	o     *Options
	app   *cli.App
	meta  *metaclient.Client
	clock clock
	id    uint64

	topic        string
	ownTopic     bool
	partitions   int
	replicas     int
	startOffsets []int64
	keys         [][]byte

	window    window
	stopped   *stopFlag
	producers []*producerClient
	ledgers   []*ledger
	recorders []*recorder // what the interval table and the result show
	acks      []*recorder // mode e2e: the producers'
	errors    errorCounts
	acked     int64
	limits    []limit // settings of the cluster that bound a record
	gaveUp    atomic.Bool
}

// execute goes through the phases: connect, prepare, load, verify, clean up.
func execute(ctx context.Context, app *cli.App, o *Options) (*Report, error) {
	meta, err := metaclient.Connect(ctx, app)
	if err != nil {
		return nil, err
	}
	defer meta.Close()
	r := &run{o: o, app: app, meta: meta, clock: clock{time.Now()}, id: rand.Uint64(), stopped: newStopFlag()}
	rep := &Report{Started: app.Now().UTC(), Load: newLoad(o), Environment: r.readEnvironment(ctx)}
	if o.Keyed {
		r.keys = makeKeys(o.Keys)
	}
	if o.Mode != modeMetadata || !contains(o.Ops, opCreate) {
		if err := r.prepareTopic(ctx); err != nil {
			return nil, err
		}
		defer r.removeTopic()
		r.readTopicConfigs(ctx, &rep.Environment)
		if err := r.checkSize(); err != nil {
			return nil, err
		}
		rep.Load.Topic, rep.Load.Partitions, rep.Load.Replicas = r.topic, r.partitions, r.replicas
	}
	if o.Mode == modeConsume {
		if err := r.prefill(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.load(ctx, rep); err != nil {
		return nil, err
	}
	rep.Interrupted = ctx.Err() != nil
	if o.Verify && o.Mode == modeProduce {
		vctx := ctx
		if rep.Interrupted { // a first Ctrl-C ends the load only
			vctx = context.WithoutCancel(ctx)
		}
		if r.gaveUp.Load() {
			rep.verifyErr = cli.Failf("read back: the cluster does not answer")
		} else if i, err := r.verify(vctx); err != nil {
			rep.verifyErr = err // what was measured is worth telling
		} else {
			rep.Integrity = i
		}
	}
	rep.conclude(o)
	return rep, nil
}

// load runs the measured part.
func (r *run) load(ctx context.Context, rep *Report) error {
	begin := r.clock.now()
	r.window.start.Store(begin + int64(r.o.Warmup))
	r.window.end.Store(begin + int64(r.o.Warmup+r.o.Duration))
	started, err := r.start(ctx)
	if err != nil {
		return err
	}
	progress := r.app.NewProgress()
	var rows []Row
	s := r.startSampler(func(row Row) {
		rows = append(rows, row)
		r.progress(progress, row)
	})
	unhook := context.AfterFunc(ctx, func() {
		r.window.end.Store(min(r.window.end.Load(), r.clock.now()))
		r.stopped.stop()
		progress.Clear()
		r.app.Hintf("interrupted: waiting for what is outstanding, for %s at most; Ctrl-C again ends at once", giveUp)
	})
	defer unhook()
	loaded := make(chan struct{})
	defer close(loaded)
	go r.giveUpAfter(ctx, loaded)
	timer := time.AfterFunc(r.o.Warmup+r.o.Duration, r.stopped.stop)
	defer timer.Stop()
	before := readUsage()
	started.begin()
	err = started.wait()
	after := readUsage()
	ended := r.clock.now()
	s.finish()
	progress.Clear()
	r.window.end.Store(min(r.window.end.Load(), ended)) // --messages may have ended it before the time
	started.report(rep)
	rep.measure(r, s, between(before, after))
	return err
}

// giveUp is how long Ctrl-C waits for records that are outstanding.
const giveUp = 5 * time.Second

// giveUpAfter closes the producers some time after Ctrl-C, unless the load has ended by then: what they have outstanding fails.
func (r *run) giveUpAfter(ctx context.Context, loaded <-chan struct{}) {
	select {
	case <-loaded:
		return
	case <-ctx.Done():
	}
	select {
	case <-loaded:
	case <-time.After(giveUp):
		r.gaveUp.Store(true)
		for _, c := range r.producers {
			c.kafka.Close()
		}
	}
}

func (r *run) progress(p *cli.Progress, row Row) {
	total := r.o.Warmup + r.o.Duration
	share := row.EndS / total.Seconds()
	eta := max(0, total-time.Duration(row.EndS*float64(time.Second))).Round(time.Second)
	if row.Phase == phaseDrain || r.clock.now() >= r.window.end.Load() {
		p.Set("%s %s  waiting for what is outstanding", cli.Bar(1, 20), phaseDrain)
		return
	}
	p.Set("%s %s  %s/s  %s MiB/s  p99 %s  failed %d  %s left", cli.Bar(share, 20), row.Phase, cli.Rate(row.PerSecond), cli.Rate(row.MiBPerS),
		msText(row.P99Ms), row.Failed, eta)
}

// activity is a load that was prepared: begin starts it, wait ends with it, report adds what only it knows.
type activity struct {
	begin  func()
	wait   func() error
	report func(*Report)
}

// start prepares the mode's load: clients are open, recorders are there, nothing is sent yet.
func (r *run) start(ctx context.Context) (activity, error) {
	switch r.o.Mode {
	case modeConsume:
		return r.consumeActivity(ctx)
	case modeMetadata:
		return r.metadataActivity(ctx)
	case modeEndToEnd:
		return r.endToEndActivity()
	}
	return r.produceActivity()
}

func (r *run) produceActivity() (activity, error) {
	if err := r.openProducers(); err != nil {
		return activity{}, err
	}
	return activity{
		begin: r.startLoad,
		wait:  func() error { r.waitProducers(); r.closeProducers(); return nil },
		report: func(rep *Report) {
			rep.Integrity.Acknowledged = r.acked
		},
	}, nil
}

func (r *run) startLoad() {
	if r.o.model() == modelClosed {
		r.startClosed()
	} else {
		r.startPumps()
	}
}

func (r *run) endToEndActivity() (activity, error) {
	if err := r.openProducers(); err != nil {
		return activity{}, err
	}
	r.acks, r.recorders = r.recorders, nil
	n := r.o.Concurrency
	if r.o.model() == modelOpen {
		n = r.o.Clients
	}
	e, err := r.startEndToEnd(n)
	if err != nil {
		return activity{}, err
	}
	var integrity Integrity
	return activity{
		begin: r.startLoad,
		wait: func() error {
			r.waitProducers()
			r.closeProducers()
			integrity = e.finish()
			return nil
		},
		report: func(rep *Report) {
			rep.Integrity = integrity
			acks := newShard(r.o.model() == modelOpen)
			for _, rec := range r.acks {
				acks.merge(rec.cur.Load())
			}
			rep.Acknowledge, rep.ScheduleLag = newLatency(acks.response), newLatency(acks.lag)
			rep.failedAcks = acks.failed
		},
	}, nil
}

func (r *run) consumeActivity(ctx context.Context) (activity, error) {
	var load *consumeLoad
	a := activity{begin: func() {}}
	cctx, cancel := context.WithCancel(ctx)
	begin := r.clock.now() // filling the topic took its time
	r.window.start.Store(begin + int64(r.o.Warmup))
	r.window.end.Store(begin + int64(r.o.Warmup+r.o.Duration))
	load, err := r.startConsume(cctx)
	if err != nil {
		cancel()
		return a, err
	}
	go func() { // the clients wait for records; the end of the time must reach them
		<-r.stopped.ch
		cancel()
	}()
	a.wait = func() error { load.wg.Wait(); r.stopped.stop(); return load.err }
	a.report = func(rep *Report) {
		rep.Rounds = load.rounds
		rep.Integrity = load.result
		rep.Integrity.Verified = load.checked
		if !r.ownTopic {
			rep.Integrity.Lost = 0 // gaps in offsets are normal in a compacted or transactional topic
		}
	}
	return a, nil
}

func (r *run) metadataActivity(ctx context.Context) (activity, error) {
	ops, err := r.openOperations(ctx)
	if err != nil {
		return activity{}, err
	}
	var byOp map[string]*hdrhistogram.Histogram
	return activity{
		begin: func() { ops.start(ctx) },
		wait:  func() error { ops.wg.Wait(); return nil },
		report: func(rep *Report) {
			byOp = ops.finish()
			for _, op := range r.o.Ops {
				rep.Operations = append(rep.Operations, Operation{Name: op, Latency: newLatency(byOp[op])})
			}
		},
	}, nil
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
