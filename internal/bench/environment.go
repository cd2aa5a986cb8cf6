package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"

	"github.com/chronik-io/chronik/internal/version"
)

// pings is how often the round trip is measured.
const pings = 20

// Environment is what a figure depends on besides the code.
type Environment struct {
	Tool          string            `json:"tool"`
	Go            string            `json:"go"`
	OS            string            `json:"os"`
	Kernel        string            `json:"kernel"`
	CPU           string            `json:"cpu"`
	Cores         int               `json:"cores"`
	GOMAXPROCS    int               `json:"gomaxprocs"`
	MemoryBytes   int64             `json:"memoryBytes"`
	Cluster       string            `json:"cluster"`
	Server        string            `json:"server"` // Chronik where there is a metadata log, else guessed from the APIs that it advertises
	Brokers       int               `json:"brokers"`
	Bootstrap     []string          `json:"bootstrap"`
	RTTMs         float64           `json:"rttMs"` // median of an ApiVersions round trip to the slowest broker
	BrokerConfigs map[string]string `json:"brokerConfigs"`
	TopicConfigs  map[string]string `json:"topicConfigs"`
}

// readEnvironment describes the machine and the cluster; what cannot be read is left out.
func (r *run) readEnvironment(ctx context.Context) Environment {
	e := Environment{Tool: version.Version, Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		Kernel: kernel(), CPU: firstField("/proc/cpuinfo", "model name"), Bootstrap: r.meta.Target.Bootstrap,
		BrokerConfigs: map[string]string{}, TopicConfigs: map[string]string{}, RTTMs: -1}
	var kib int64
	if _, err := fmt.Sscanf(firstField("/proc/meminfo", "MemTotal"), "%d", &kib); err == nil {
		e.MemoryBytes = kib << 10
	}
	ctx, cancel := r.app.WithTimeout(ctx)
	defer cancel()
	m, err := r.meta.Admin().BrokerMetadata(ctx)
	if err != nil {
		return e
	}
	e.Cluster, e.Brokers = m.Cluster, len(m.Brokers)
	for i, b := range m.Brokers {
		e.RTTMs = max(e.RTTMs, r.roundTrip(ctx, b.NodeID))
		if i > 0 {
			continue
		}
		e.Server = r.serverGuess(ctx, b.NodeID)
		if configs, err := r.meta.Admin().DescribeBrokerConfigs(ctx, b.NodeID); err == nil {
			for _, c := range configs {
				for _, kv := range c.Configs {
					r.noteLimit(kv.Key, kv.MaybeValue(), fmt.Sprintf("of broker %d", b.NodeID))
					if kv.Source != kmsg.ConfigSourceDefaultConfig && !kv.Sensitive && kv.Value != nil {
						e.BrokerConfigs[kv.Key] = *kv.Value
					}
				}
			}
		}
	}
	return e
}

// readTopicConfigs notes the settings of the topic that are not defaults.
func (r *run) readTopicConfigs(ctx context.Context, e *Environment) {
	if r.topic == "" {
		return
	}
	ctx, cancel := r.app.WithTimeout(ctx)
	defer cancel()
	configs, err := r.meta.Admin().DescribeTopicConfigs(ctx, r.topic)
	if err != nil {
		return
	}
	for _, c := range configs {
		for _, kv := range c.Configs {
			r.noteLimit(kv.Key, kv.MaybeValue(), "of topic "+r.topic)
			if kv.Source == kmsg.ConfigSourceDynamicTopicConfig && kv.Value != nil {
				e.TopicConfigs[kv.Key] = *kv.Value
			}
		}
	}
}

// roundTrip is the median of some ApiVersions requests to one broker, in milliseconds; -1 when it does not answer.
func (r *run) roundTrip(ctx context.Context, id int32) float64 {
	b := r.meta.Kafka().Broker(int(id))
	var all []time.Duration
	for range pings {
		begin := time.Now()
		if _, err := b.Request(ctx, kmsg.NewPtrApiVersionsRequest()); err != nil {
			return -1
		}
		all = append(all, time.Since(begin))
	}
	slices.Sort(all)
	return float64(all[len(all)/2].Microseconds()) / 1000
}

func (r *run) serverGuess(ctx context.Context, id int32) string {
	if _, _, err := r.meta.LogBounds(ctx); err == nil {
		// The set of its APIs is its own, so there is no Kafka release to guess.
		if info, err := r.meta.NodeInfo(ctx, id, -1); err == nil {
			return "Chronik " + info.SoftwareVersion
		}
		return "Chronik"
	}
	all, err := r.meta.Admin().ApiVersions(ctx)
	if v, ok := all[id]; err == nil && ok && v.Err == nil {
		return "Kafka API " + v.VersionGuess()
	}
	return ""
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// firstField returns the value of the first "name : value" line of a file.
func firstField(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if k, v, ok := strings.Cut(sc.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// String lists causes, most frequent first.
func (c errorCounts) String() string {
	causes := make([]string, 0, len(c))
	for k := range c {
		causes = append(causes, k)
	}
	sort.Slice(causes, func(i, j int) bool {
		return c[causes[i]] > c[causes[j]] || c[causes[i]] == c[causes[j]] && causes[i] < causes[j]
	})
	for i, k := range causes {
		causes[i] = fmt.Sprintf("%s ×%d", k, c[k])
	}
	return strings.Join(causes, ", ")
}
