package bench

import (
	"bufio"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what this process and the machine have used up to a moment.
type usage struct {
	at       time.Time
	cpu      time.Duration // this process
	busy     float64       // all processes, in seconds of one core; -1 where unknown
	gcCycles uint64
	gcPauses *metrics.Float64Histogram
}

func readUsage() usage {
	u := usage{at: time.Now(), busy: machineBusy()}
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) == nil {
		u.cpu = time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	s := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	if s[0].Value.Kind() == metrics.KindUint64 {
		u.gcCycles = s[0].Value.Uint64()
	}
	if s[1].Value.Kind() == metrics.KindFloat64Histogram {
		h := *s[1].Value.Float64Histogram()
		h.Counts = append([]uint64(nil), h.Counts...)
		u.gcPauses = &h
	}
	return u
}

// machineBusy reads the time all cores were not idle.
func machineBusy() float64 {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return -1
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) < 6 || fields[0] != "cpu" {
		return -1
	}
	var sum float64
	for i, v := range fields[1:] {
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return -1
		}
		if i == 3 || i == 4 || i >= 8 { // idle, iowait; guest time is in user time already
			continue
		}
		sum += n
	}
	return sum / 100 // USER_HZ is 100 on every Linux that Go runs on
}

// usageBetween is what was used between two moments.
type usageBetween struct {
	ClientCores  float64 `json:"clientCores"`
	MachineCores float64 `json:"machineCores"` // -1 where unknown
	Cores        int     `json:"cores"`
	GCCycles     uint64  `json:"gcCycles"`
	GCPauseMaxMs float64 `json:"gcPauseMaxMs"`
}

func between(a, b usage) usageBetween {
	wall := b.at.Sub(a.at).Seconds()
	out := usageBetween{Cores: runtime.NumCPU(), MachineCores: -1, GCCycles: b.gcCycles - a.gcCycles}
	if wall <= 0 {
		return out
	}
	out.ClientCores = (b.cpu - a.cpu).Seconds() / wall
	if a.busy >= 0 && b.busy >= 0 {
		out.MachineCores = (b.busy - a.busy) / wall
	}
	if a.gcPauses != nil && b.gcPauses != nil && len(a.gcPauses.Counts) == len(b.gcPauses.Counts) {
		for i := range b.gcPauses.Counts {
			if b.gcPauses.Counts[i] > a.gcPauses.Counts[i] && i+1 < len(b.gcPauses.Buckets) {
				out.GCPauseMaxMs = b.gcPauses.Buckets[i] * 1000 // the lower edge: what is certain
			}
		}
	}
	if out.GCPauseMaxMs < 0 {
		out.GCPauseMaxMs = 0
	}
	return out
}
