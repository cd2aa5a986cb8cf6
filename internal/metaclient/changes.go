package metaclient

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-io/chronik/internal/metadata"
)

// FieldChange is one field of an entity that differs. An empty Before or After means that the field was not there.
type FieldChange struct {
	Field         string `json:"field"`
	Before, After string `json:",omitempty"`
}

// MarshalJSON keeps the values as JSON.
func (f FieldChange) MarshalJSON() ([]byte, error) {
	out := struct {
		Field  string          `json:"field"`
		Before json.RawMessage `json:"before,omitempty"`
		After  json.RawMessage `json:"after,omitempty"`
	}{f.Field, json.RawMessage(f.Before), json.RawMessage(f.After)}
	return json.Marshal(out)
}

// EntityChange is one entity that an event changed.
type EntityChange struct {
	Key string `json:"key"`
	// Op is "+", "-" or "~": added, removed, changed.
	Op     string        `json:"op"`
	Fields []FieldChange `json:"fields"`
}

// DiffImages lists what differs between two images, field by field; for an added or removed entity all its fields.
func DiffImages(before, after *metadata.Image) []EntityChange {
	changes := metadata.Diff(before, after)
	out := make([]EntityChange, 0, len(changes))
	for _, c := range changes {
		op := "~"
		switch {
		case c.Before == nil:
			op = "+"
		case c.After == nil:
			op = "-"
		}
		out = append(out, EntityChange{Key: c.Key, Op: op, Fields: diffFields(c.Before, c.After)})
	}
	return out
}

// diffFields compares two JSON objects in the order of their fields.
func diffFields(before, after []byte) []FieldChange {
	oldNames, oldValues := objectFields(before)
	newNames, newValues := objectFields(after)
	var out []FieldChange
	for _, n := range oldNames {
		if b, a := oldValues[n], newValues[n]; b != a {
			out = append(out, FieldChange{Field: n, Before: b, After: a})
		}
	}
	for _, n := range newNames {
		if _, ok := oldValues[n]; !ok {
			out = append(out, FieldChange{Field: n, After: newValues[n]})
		}
	}
	return out
}

// objectFields returns the fields of a JSON object in order, with their values as compact JSON.
func objectFields(b []byte) ([]string, map[string]string) {
	values := map[string]string{}
	var names []string
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, values
	}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		var raw json.RawMessage
		if err != nil || !ok || dec.Decode(&raw) != nil {
			return names, values
		}
		var compact bytes.Buffer
		if json.Compact(&compact, raw) != nil {
			return names, values
		}
		names = append(names, name)
		values[name] = compact.String()
	}
	return names, values
}

// Brief is an added or removed entity in one line: its fields that say something which the key does not.
func (c EntityChange) Brief() string {
	var parts []string
	named := strings.HasPrefix(c.Key, "partition/") || strings.HasPrefix(c.Key, "topic/")
	for _, f := range c.Fields {
		if named && (f.Field == "topic" || f.Field == "partition" || f.Field == "name") {
			continue
		}
		v := f.After
		if c.Op == "-" {
			v = f.Before
		}
		switch v {
		case "", "[]", "{}", `""`, "false", "null":
			continue
		}
		parts = append(parts, f.Field+"="+v)
	}
	return strings.Join(parts, " ")
}

// ClientAddress is the address that clients use: of the listener kafka, else of the first one that is none of the node's own.
func ClientAddress(endpoints []metadata.Endpoint) string {
	for _, ep := range endpoints {
		if ep.Listener == metadata.ListenerKafka {
			return net.JoinHostPort(ep.Host, strconv.Itoa(int(ep.Port)))
		}
	}
	for _, ep := range endpoints {
		if ep.Listener != metadata.ListenerWAL && ep.Listener != metadata.ListenerRaft {
			return net.JoinHostPort(ep.Host, strconv.Itoa(int(ep.Port)))
		}
	}
	return ""
}

// Describe says in one line what an event does.
func Describe(e LogEntry) string {
	switch ev := e.Event.(type) {
	case *metadata.ClusterFounded:
		return fmt.Sprintf("cluster %s founded by %d members", ev.ClusterID, len(ev.Founders))
	case *metadata.VotersChanged:
		return "voters are " + voterList(ev.Voters)
	case *metadata.BrokerRegistered:
		addr := ""
		if a := ClientAddress(ev.Endpoints); a != "" {
			addr = " at " + a
		}
		return fmt.Sprintf("broker %d registered%s, epoch %d", ev.BrokerID, addr, ev.BrokerEpoch)
	case *metadata.BrokerFenced:
		return fmt.Sprintf("broker %d fenced", ev.BrokerID)
	case *metadata.BrokerUnfenced:
		return fmt.Sprintf("broker %d unfenced", ev.BrokerID)
	case *metadata.BrokerUnregistered:
		return fmt.Sprintf("broker %d unregistered", ev.BrokerID)
	case *metadata.TopicCreated:
		return fmt.Sprintf("topic %s created, %s", ev.Name, plural(len(ev.Partitions), "partition"))
	case *metadata.TopicDeleted:
		return fmt.Sprintf("topic %s deleted", ev.Name)
	case *metadata.TombstonesPurged:
		return plural(len(ev.TopicIDs), "tombstone") + " purged"
	case *metadata.PartitionsAdded:
		return fmt.Sprintf("topic %s grew by %s to %d", ev.Name, plural(len(ev.Partitions), "partition"), int(ev.First)+len(ev.Partitions))
	case *metadata.AssignPartition:
		return fmt.Sprintf("%s-%d assigned to %v", ev.Name, ev.Partition, ev.Replicas)
	case *metadata.SetLeader:
		if ev.Leader < 0 {
			return fmt.Sprintf("%s-%d has no leader", ev.Name, ev.Partition)
		}
		return fmt.Sprintf("%s-%d is led by %d, epoch %d", ev.Name, ev.Partition, ev.Leader, ev.LeaderEpoch)
	case *metadata.UpdateIsr:
		return fmt.Sprintf("%s-%d in sync: %v", ev.Name, ev.Partition, ev.ISR)
	case *metadata.ConfigChanged:
		return describeConfig(ev)
	case *metadata.ProducerIDsAllocated:
		return fmt.Sprintf("producer ids %d to %d for broker %d", ev.First, ev.Next-1, ev.BrokerID)
	}
	if e.Err != nil {
		return e.Err.Error()
	}
	switch e.Type {
	case "epoch-start":
		return fmt.Sprintf("controller epoch %d starts", e.Epoch)
	case "image-hash":
		return "hash of the image so far"
	}
	return ""
}

func describeConfig(ev *metadata.ConfigChanged) string {
	name := ev.Name
	if name == "" {
		name = "all"
	}
	out := fmt.Sprintf("%s %s:", ev.Resource, name)
	const shown = 3
	n := 0
	for _, k := range sortedNames(ev.Set) {
		if n++; n <= shown {
			out += fmt.Sprintf(" %s=%s", k, ev.Set[k])
		}
	}
	for _, k := range ev.Remove {
		if n++; n <= shown {
			out += " unset " + k
		}
	}
	if n > shown {
		out += fmt.Sprintf(" and %d more", n-shown)
	}
	return out
}

func voterList(voters []metadata.Voter) string {
	ids := make([]int32, len(voters))
	for i, v := range voters {
		ids[i] = v.NodeID
	}
	return fmt.Sprint(ids)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func sortedNames(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
