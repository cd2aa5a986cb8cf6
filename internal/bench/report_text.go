package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chronik-io/chronik/internal/cli"
)

// writeText renders a report for a person.
func (rep *Report) writeText(w io.Writer, st cli.Style) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s   %s\n", st.Bold("chronik-bench "+rep.Load.Mode), rep.Load.describe())
	b.WriteString(st.Dim(rep.Load.describeRecords()) + "\n")
	b.WriteString(st.Dim(rep.Environment.describe()) + "\n\n")
	if err := rep.rowGrid().Write(&b, st, false); err != nil {
		return err
	}
	b.WriteString("\n")
	rep.writeResult(&b, st)
	for _, v := range rep.Verdicts {
		mark := st.Good("● ")
		text := v.Text
		if v.Bad {
			mark, text = st.Bad("▲ "), st.Bad(v.Text)
		}
		fmt.Fprintf(&b, "%s%-10s %s\n", mark, v.Name, text)
	}
	if rep.Interrupted {
		b.WriteString(st.Warn("▲ interrupted: the figures are of the time until then") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// describe names the load model.
func (l Load) describe() string {
	clients := plural(l.Clients, "client")
	thing := "records"
	if l.Mode == modeMetadata {
		thing = "requests"
	}
	switch {
	case l.Mode == modeConsume:
		return fmt.Sprintf("as fast as it comes, %s", clients)
	case l.Model == modelOpen:
		return fmt.Sprintf("open loop: %s records/s, latency from the intended start, %s", cli.Rate(l.RatePerS), clients)
	case l.Model == modelAsync:
		return fmt.Sprintf("async: up to %s records outstanding, throughput only, %s", cli.Count(int64(l.Outstanding)), clients)
	}
	return fmt.Sprintf("closed loop: %d %s outstanding, %s", l.Concurrency, thing, clients)
}

func (l Load) describeRecords() string {
	if l.Mode == modeMetadata {
		return "each round with a topic of its own"
	}
	parts := []string{fmt.Sprintf("topic %s, %s, %s", l.Topic, plural(l.Partitions, "partition"), plural(l.Replicas, "replica")), cli.Bytes(l.MessageSize)}
	if l.Mode != modeConsume {
		keyed, idem := "unkeyed", "not idempotent"
		if l.Keyed {
			keyed = "keyed"
		}
		if l.Idempotent {
			idem = "idempotent"
		}
		parts = append(parts, keyed, "acks "+l.Acks, idem, "compression "+l.Compression)
		if l.LingerMs > 0 {
			parts = append(parts, fmt.Sprintf("linger %gms", l.LingerMs))
		}
	}
	return strings.Join(parts, " · ")
}

func (e Environment) describe() string {
	lines := []string{fmt.Sprintf("%s · %s at %s · rtt %s", orUnknown(e.Server), plural(e.Brokers, "broker"), strings.Join(e.Bootstrap, ","), msText(e.RTTMs)),
		fmt.Sprintf("client %s · %s · %d cores · %s · Linux %s · %s", e.Tool, orUnknown(e.CPU), e.Cores, cli.Bytes(e.MemoryBytes), e.Kernel, e.Go)}
	if c := changed(e.BrokerConfigs); c != "" {
		lines = append(lines, "broker settings: "+c)
	}
	if c := changed(e.TopicConfigs); c != "" {
		lines = append(lines, "topic settings: "+c)
	}
	return strings.Join(lines, "\n")
}

// notSettings are names that no figure depends on: addresses, identities, internal topics. The JSON report has them all.
var notSettings = []string{"offsets.topic.", "transaction.state.log.", "share.coordinator.", "group.", "auto.create.", "num.partitions", "default.replication.factor", "broker.id", "sasl.", "cluster.id",
	"listeners", "advertised.listeners", "log.dirs", "log.dir", "node.id", "broker.id", "controller.quorum", "controller.listener", "process.roles", "listener.security",
	"inter.broker.listener", "broker.rack", "replica.selector"}

func changed(m map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !slices.ContainsFunc(notSettings, func(p string) bool { return strings.HasPrefix(k, p) }) {
			out = append(out, k+"="+m[k])
		}
	}
	return strings.Join(out, " ")
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return cli.Printable(s)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func (rep *Report) rowGrid() *cli.Grid {
	g := &cli.Grid{Empty: "no interval was completed", Columns: []cli.Column{{Title: "TIME", Right: true}, {Title: "PHASE"}, {Title: "PER SECOND", Right: true}, {Title: "MiB/s", Right: true},
		{Title: "P50", Right: true}, {Title: "P99", Right: true}, {Title: "P99.9", Right: true}, {Title: "MAX", Right: true}, {Title: "FAILED", Right: true}, {Title: "CLIENT CPU", Right: true}}}
	for _, r := range rep.Rows {
		rate, size := cli.Count(int64(r.PerSecond)), fmt.Sprintf("%.1f", r.MiBPerS)
		switch {
		case r.Phase == phaseDrain:
			rate, size = "-", "-"
		case rep.Load.Mode == modeMetadata:
			size = "-"
		}
		g.Add(fmt.Sprintf("%.1fs", r.EndS), r.Phase, rate, size, msText(r.P50Ms), msText(r.P99Ms), msText(r.P999Ms), msText(r.MaxMs),
			cli.Count(r.Failed), fmt.Sprintf("%.2f", r.ClientCores))
	}
	return g
}

func (rep *Report) writeResult(b *strings.Builder, st cli.Style) {
	r := rep.Result
	thing := "records"
	if rep.Load.Mode == modeMetadata {
		thing = "requests"
	}
	rate := fmt.Sprintf("%s %s/s", cli.Count(int64(r.PerSecond)), thing)
	if rep.Load.Mode != modeMetadata {
		rate += fmt.Sprintf("   %.1f MiB/s", r.MiBPerS)
	}
	fmt.Fprintf(b, "%-12s %s   %s\n", "throughput", st.Bold(rate), st.Dim(fmt.Sprintf("(%s in %.1fs; %s of the warm-up discarded, %s ended later)", cli.Count(r.Records), r.Seconds, cli.Count(r.Discarded), cli.Count(r.Late))))
	name := "latency"
	if rep.Load.Mode == modeEndToEnd {
		name = "end to end"
	}
	writeLatency(b, st, name, rep.Latency)
	writeLatency(b, st, "service", rep.Service)
	writeLatency(b, st, "sent late", rep.ScheduleLag)
	writeLatency(b, st, "acknowledge", rep.Acknowledge)
	for _, op := range rep.Operations {
		writeLatency(b, st, op.Name, op.Latency)
		if op.Latency != nil {
			fmt.Fprintf(b, "%-12s %s/s\n", "", cli.Count(int64(op.PerSecond)))
		}
	}
	if r.Failed > 0 {
		fmt.Fprintf(b, "%-12s %s\n", "failed", st.Bad(fmt.Sprintf("%s: %s", cli.Count(r.Failed), cli.Printable(r.ErrorsText))))
	}
	if r.Overflow > 0 {
		fmt.Fprintf(b, "%-12s %s\n", "overflow", st.Bad(fmt.Sprintf("%s samples above 10 minutes", cli.Count(r.Overflow))))
	}
	if rep.Usage.GCCycles > 0 {
		fmt.Fprintf(b, "%-12s %s\n", "client GC", st.Dim(fmt.Sprintf("%d cycles, longest pause %s", rep.Usage.GCCycles, msText(rep.Usage.GCPauseMaxMs))))
	}
	if i := rep.Integrity; i.Verified && i.Unacknowledged+i.Foreign > 0 {
		fmt.Fprintf(b, "%-12s %s\n", "also there", st.Dim(fmt.Sprintf("%s unacknowledged, %s of other runs", cli.Count(i.Unacknowledged), cli.Count(i.Foreign))))
	}
}

func writeLatency(b *strings.Builder, st cli.Style, name string, l *Latency) {
	if l == nil {
		return
	}
	fmt.Fprintf(b, "%-12s p50 %s  p90 %s  %s  p99.9 %s  p99.99 %s  max %s  mean %s\n", name, msText(l.P50Ms), msText(l.P90Ms), st.Bold("p99 "+msText(l.P99Ms)), msText(l.P999Ms), msText(l.P9999), msText(l.MaxMs), msText(l.MeanMs))
}

// msText renders milliseconds with three figures; nothing measured is a dash.
func msText(v float64) string {
	if v <= 0 {
		return "-"
	}
	return cli.Duration(time.Duration(v * float64(time.Millisecond)))
}
