package bench

import (
	"fmt"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/chronik-io/chronik/internal/cli"
)

// Thresholds of the verdicts.
const (
	saturatedShare = 0.85 // of the machine's cores, used by this process
	unsteadyShift  = 0.10 // between the halves of the measured time
	unsteadySpread = 0.25 // standard deviation over mean of the rows
)

// Report is the outcome of a run, kind BenchReport.
type Report struct {
	Started     time.Time    `json:"started"`
	Load        Load         `json:"load"`
	Result      Result       `json:"result"`
	Latency     *Latency     `json:"latency,omitempty"`     // from the intended start; mode e2e: to the consumer
	Service     *Latency     `json:"service,omitempty"`     // open loop: from the real start
	ScheduleLag *Latency     `json:"scheduleLag,omitempty"` // open loop: from the intended to the real start
	Acknowledge *Latency     `json:"acknowledge,omitempty"` // mode e2e: to the producer
	Operations  []Operation  `json:"operations,omitempty"`
	Integrity   Integrity    `json:"integrity"`
	Verdicts    []Verdict    `json:"verdicts"`
	Usage       usageBetween `json:"usage"`
	Rows        []Row        `json:"intervals"`
	Environment Environment  `json:"environment"`
	Rounds      int          `json:"rounds,omitempty"` // mode consume: how often the whole topic was read
	Interrupted bool         `json:"interrupted"`

	failedAcks int64
	verifyErr  error
}

// Load says what was asked for, load model first.
type Load struct {
	Model       string  `json:"model"`
	Mode        string  `json:"mode"`
	Concurrency int     `json:"concurrency,omitempty"`
	RatePerS    float64 `json:"ratePerSecond,omitempty"`
	Outstanding int     `json:"maxOutstanding,omitempty"`
	Clients     int     `json:"clients"`
	Topic       string  `json:"topic,omitempty"`
	Partitions  int     `json:"partitions,omitempty"`
	Replicas    int     `json:"replicas,omitempty"`
	MessageSize int64   `json:"messageSize"`
	Acks        string  `json:"acks"`
	Idempotent  bool    `json:"idempotent"`
	Compression string  `json:"compression"`
	Payload     string  `json:"payload"`
	Keyed       bool    `json:"keyed"`
	LingerMs    float64 `json:"lingerMs"`
	WarmupS     float64 `json:"warmupSeconds"`
	DurationS   float64 `json:"durationSeconds"`
	Messages    int64   `json:"messages,omitempty"`
}

func newLoad(o *Options) Load {
	l := Load{Model: o.model(), Mode: o.Mode, Clients: o.Clients, MessageSize: int64(o.size), Acks: o.Acks, Idempotent: o.idempotent(), Compression: o.Compression,
		Payload: o.Payload, Keyed: o.Keyed, LingerMs: float64(o.Linger) / 1e6, WarmupS: o.Warmup.Seconds(), DurationS: o.Duration.Seconds(), Messages: o.Messages}
	switch l.Model {
	case modelClosed:
		l.Concurrency = o.Concurrency
	case modelOpen:
		l.RatePerS, l.Outstanding = o.Rate, o.Outstanding
	case modelAsync:
		l.Outstanding = o.Outstanding
	}
	return l
}

// Result is the throughput.
type Result struct {
	Seconds    float64 `json:"seconds"`
	Records    int64   `json:"records"` // ended well within the measured time
	Late       int64   `json:"late"`    // started within it, ended well later; in the latencies, not in the throughput
	Discarded  int64   `json:"discarded"`
	Failed     int64   `json:"failed"`
	Overflow   int64   `json:"overflow"`
	PerSecond  float64 `json:"recordsPerSecond"`
	MiBPerS    float64 `json:"mibPerSecond"`
	ErrorsText string  `json:"errors,omitempty"`
}

// Latency is a histogram in milliseconds.
type Latency struct {
	Count  int64   `json:"count"`
	MeanMs float64 `json:"meanMs"`
	MinMs  float64 `json:"minMs"`
	P50Ms  float64 `json:"p50Ms"`
	P90Ms  float64 `json:"p90Ms"`
	P99Ms  float64 `json:"p99Ms"`
	P999Ms float64 `json:"p999Ms"`
	P9999  float64 `json:"p9999Ms"`
	MaxMs  float64 `json:"maxMs"`
}

// Operation is one kind of request of mode metadata.
type Operation struct {
	Name      string   `json:"name"`
	PerSecond float64  `json:"perSecond"`
	Latency   *Latency `json:"latency"`
}

// Verdict is something that the figures must not be read without.
type Verdict struct {
	Name string `json:"name"`
	Bad  bool   `json:"bad"`
	Text string `json:"text"`
}

func newLatency(h *hdrhistogram.Histogram) *Latency {
	if h == nil || h.TotalCount() == 0 {
		return nil
	}
	return &Latency{Count: h.TotalCount(), MeanMs: h.Mean() / 1e6, MinMs: ms(h.Min()), P50Ms: ms(h.ValueAtPercentile(50)), P90Ms: ms(h.ValueAtPercentile(90)),
		P99Ms: ms(h.ValueAtPercentile(99)), P999Ms: ms(h.ValueAtPercentile(99.9)), P9999: ms(h.ValueAtPercentile(99.99)), MaxMs: ms(h.Max())}
}

// measure fills in the figures of the load.
func (rep *Report) measure(r *run, s *sampler, u usageBetween) {
	t := s.total
	seconds := math.Max(0, float64(r.window.end.Load()-r.window.start.Load())/1e9)
	rep.Result = Result{Seconds: seconds, Records: t.done, Late: t.late, Discarded: t.discard, Failed: t.failed + rep.failedAcks, Overflow: t.overflow, ErrorsText: r.explainErrors()}
	if seconds > 0 {
		rep.Result.PerSecond = float64(t.done) / seconds
		rep.Result.MiBPerS = float64(t.bytes) / seconds / (1 << 20)
	}
	rep.Latency = newLatency(t.response)
	if t.service != nil {
		rep.Service, rep.ScheduleLag = newLatency(t.service), newLatency(t.lag)
	}
	for i, op := range rep.Operations {
		if op.Latency != nil && seconds > 0 {
			rep.Operations[i].PerSecond = float64(op.Latency.Count) / seconds
		}
	}
	rep.Rows, rep.Usage = s.rows, u
}

// conclude adds the verdicts.
func (rep *Report) conclude(o *Options) {
	rep.Verdicts = []Verdict{rep.saturation(), rep.steadiness()}
	if o.Mode == modeMetadata {
		return
	}
	i := rep.Integrity
	switch {
	case rep.verifyErr != nil:
		rep.Verdicts = append(rep.Verdicts, Verdict{"integrity", true, "NOT READ BACK: " + rep.verifyErr.Error()})
	case i.Verified && i.bad():
		rep.Verdicts = append(rep.Verdicts, Verdict{"integrity", true, fmt.Sprintf("RECORDS DAMAGED: lost %d, duplicated %d, reordered %d, corrupt %d of %s read", i.Lost, i.Duplicated, i.Reordered, i.Corrupt, cli.Count(i.Read))})
	case i.Verified:
		rep.Verdicts = append(rep.Verdicts, Verdict{"integrity", false, fmt.Sprintf("%s records read back: lost 0, duplicated 0, reordered 0, corrupt 0", cli.Count(i.Read))})
	default:
		rep.Verdicts = append(rep.Verdicts, Verdict{"integrity", false, "not read back; every acknowledgement had an offset above the one before (--verify reads everything)"})
	}
}

// saturation tells when the client, not the cluster, was the limit.
func (rep *Report) saturation() Verdict {
	u := rep.Usage
	share := u.ClientCores / float64(max(1, u.Cores))
	text := fmt.Sprintf("this client used %.2f of %d cores", u.ClientCores, u.Cores)
	if u.MachineCores >= 0 {
		text += fmt.Sprintf(", the machine %.2f", u.MachineCores)
	}
	if share >= saturatedShare {
		return Verdict{"client", true, "SATURATED CLIENT: " + text + "; the cluster may be faster than this"}
	}
	if lag := rep.ScheduleLag; lag != nil && rep.Latency != nil && rep.Service != nil && lag.P99Ms > 1 && lag.P99Ms > rep.Service.P99Ms {
		return Verdict{"client", true, fmt.Sprintf("SATURATED CLIENT: records were sent late by %s (p99), more than they took (%s)", msText(lag.P99Ms), msText(rep.Service.P99Ms))}
	}
	if u.MachineCores >= 0 && u.MachineCores/float64(max(1, u.Cores)) >= 0.95 {
		text += ": all cores are busy, so client and brokers slow each other down if they share this machine"
	}
	return Verdict{"client", false, text}
}

// steadiness compares the halves of the measured time and the spread of its rows.
func (rep *Report) steadiness() Verdict {
	var v []float64
	for _, r := range rep.Rows {
		if r.Phase == phaseMeasured && r.EndS >= rep.Load.WarmupS+0.5 {
			v = append(v, r.PerSecond)
		}
	}
	if len(v) > 2 {
		v = v[1:] // the first row may hold a part of the warm-up, the last one a part of an interval
		v = v[:len(v)-1]
	}
	if len(v) < 4 {
		return Verdict{"steady", false, "too short to tell whether it was steady"}
	}
	first, second, all := mean(v[:len(v)/2]), mean(v[len(v)/2:]), mean(v)
	var sq float64
	for _, x := range v {
		sq += (x - all) * (x - all)
	}
	spread := math.Sqrt(sq/float64(len(v))) / math.Max(all, 1e-9)
	shift := (second - first) / math.Max(first, 1e-9)
	text := fmt.Sprintf("second half %+.1f %%, spread %.1f %%", shift*100, spread*100)
	if math.Abs(shift) > unsteadyShift || spread > unsteadySpread {
		return Verdict{"steady", true, "NOT STEADY: " + text + "; run longer, or find out what changed"}
	}
	return Verdict{"steady", false, "steady: " + text}
}

func mean(v []float64) float64 {
	var s float64
	for _, x := range v {
		s += x
	}
	return s / float64(max(1, len(v)))
}

// exit is the error that a finished run ends with.
func (rep *Report) exit() error {
	switch {
	case rep.Integrity.Verified && rep.Integrity.bad():
		return cli.SilentExit(cli.ExitFailed)
	case rep.Interrupted:
		return cli.SilentExit(cli.ExitInterrupted)
	case rep.verifyErr != nil:
		return rep.verifyErr
	case rep.Result.Records+rep.Result.Late == 0:
		e := &cli.Error{Code: cli.ExitFailed, What: "nothing was measured", Err: causeOf(rep.Result.ErrorsText)}
		if rep.Result.ErrorsText == "" && rep.Result.Discarded > 0 {
			e.What += ": everything was in the warm-up"
			return e.WithNext("--warmup 0, or a longer --duration")
		}
		return e
	case rep.Result.Failed > 0:
		return cli.SilentExit(cli.ExitPartial)
	}
	return nil
}

func causeOf(text string) error {
	if text == "" {
		return nil
	}
	return fmt.Errorf("%s", text)
}
