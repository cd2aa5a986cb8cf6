package ctl

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

func TestPartitionsAreListed(t *testing.T) {
	_, sh := newShell(t, kfake.SeedTopics(2, "orders", "payments"))
	golden(t, "partition-list", sh.run(t, "partition", "list").out)
	if r := sh.run(t, "partition", "list", "orders", "-o", "name"); r.out != "partition/orders-0\npartition/orders-1\n" {
		t.Errorf("%+v", r)
	}
	if r := sh.run(t, "partition", "list", "--offline"); r.code != 0 || !strings.Contains(r.out, "no such partition") {
		t.Errorf("%+v", r)
	}
	wantDocument(t, sh.run(t, "partition", "list", "--under-replicated", "-o", "json"), "PartitionList")
	r := sh.run(t, "partition", "status")
	if r.code != 0 {
		t.Errorf("%+v", r)
	}
	golden(t, "partition-status", r.out)
	for _, args := range []string{"partition list ordres", "partition status ordres", "partition verify ordres"} {
		if r := sh.run(t, strings.Fields(args)...); r.code != cli.ExitFailed || !strings.Contains(r.err, "did you mean orders?") || r.out != "" {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

// A cluster that does not know the request leaves everything unchecked: that is neither equal nor different.
func TestVerifyElsewhere(t *testing.T) {
	_, sh := newShell(t, kfake.SeedTopics(1, "orders"))
	r := sh.run(t, "partition", "verify", "-o", "json")
	if doc := wantDocument(t, r, "ReplicaVerification"); r.code != cli.ExitPartial {
		t.Errorf("exit code %d: %v", r.code, doc)
	}
}

// A directory of which nothing can be said is no answer "no".
func TestNoDataDirectory(t *testing.T) {
	_, sh := newShell(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{dir: "not the data directory of a node", file: "is no directory", filepath.Join(dir, "nothing"): "does not exist"} {
		for _, command := range [][]string{{"partition", "verify"}, {"metadata", "verify"}, {"metadata", "dump"}} {
			if r := sh.run(t, append(command, "--dir", path)...); r.code != cli.ExitFailed || !strings.Contains(r.err, want) {
				t.Errorf("%v of %s: %+v", command, want, r)
			}
		}
	}
}

// troubled are partitions in each kind of trouble, and one without.
func troubled() *metaclient.Status {
	p := func(n int32, leader int32, live []int32, edit func(*metaclient.PartitionStatus)) metaclient.PartitionStatus {
		s := metaclient.PartitionStatus{Topic: "orders", Partition: n, Leader: leader, LeaderEpoch: 4, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}, Live: live, MinISR: 2}
		s.UnderReplicated = len(live) < 3
		edit(&s)
		return s
	}
	return &metaclient.Status{Findings: []metaclient.Finding{{Severity: metaclient.Degraded, Text: "node 2 is fenced: the controller has not heard from it", Next: "start node 2 again: chronik-server start --config FILE"}},
		Partitions: []metaclient.PartitionStatus{
			p(0, 1, []int32{1, 2, 3}, func(*metaclient.PartitionStatus) {}),
			p(1, -1, []int32{}, func(s *metaclient.PartitionStatus) { s.Offline, s.UnderMinISR = true, true }),
			p(2, 3, []int32{3}, func(s *metaclient.PartitionStatus) { s.UnderMinISR = true }),
			p(3, 3, []int32{3, 1}, func(s *metaclient.PartitionStatus) { s.AtMinISR = true }),
			p(4, 3, []int32{3, 1}, func(s *metaclient.PartitionStatus) { s.MinISR = 1 }),
			p(5, 3, []int32{1, 2, 3}, func(s *metaclient.PartitionStatus) { s.Damaged, s.UnderReplicated = []int32{3}, false }),
			p(6, 3, []int32{1, 2, 3}, func(s *metaclient.PartitionStatus) { s.Damaged, s.UnderReplicated = []int32{1, 2}, false }),
			p(7, 3, []int32{1, 2, 3}, func(s *metaclient.PartitionStatus) { s.LeaderFull = true }),
		}}
}

func TestTroubledPartitionsAreShown(t *testing.T) {
	s := troubled()
	var b bytes.Buffer
	if err := cli.Write(&b, cli.Table, cli.Style{}, partitionStatusView(s, s.Partitions, s.Partitions[1:])); err != nil {
		t.Fatal(err)
	}
	golden(t, "partition-status-troubled", b.String())
	taken := map[string]partitionFilter{"0 1 2 3 4 5 6 7": {}, "5 6": {damaged: true}, "1": {offline: true}, "1 2": {underMin: true}, "1 2 3 4": {underReplicated: true}, "3": {atMin: true}, "1 3": {offline: true, atMin: true}}
	for want, f := range taken {
		var got []string
		for i := range s.Partitions {
			if f.takes(&s.Partitions[i]) {
				got = append(got, string(rune('0'+i)))
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%+v takes %v, want %s", f, got, want)
		}
	}
}

func TestReplicasAreShown(t *testing.T) {
	check := func(node int32, v metaclient.Verdict, detail string) metaclient.ReplicaCheck {
		return metaclient.ReplicaCheck{Node: node, InSync: node != 3, LeaderEpoch: 4, EndOffset: 1200, HighWatermark: 1200, ComparedTo: 1200, Batches: 80, Checksum: "0badcafe", Verdict: v, DiffersAt: -1, Detail: detail}
	}
	r := &metaclient.ReplicaReport{Source: "h:1, h:2, h:3", Verdict: metaclient.Differs, Batches: 160, Notes: []string{"a note"}, Partitions: []metaclient.PartitionCheck{
		{Topic: "orders", Leader: 1, To: 1200, Verdict: metaclient.Equal, Replicas: []metaclient.ReplicaCheck{check(1, metaclient.Equal, ""), check(2, metaclient.Equal, "")}},
		{Topic: "orders", Partition: 1, Leader: -1, To: 1200, Verdict: metaclient.Differs, Replicas: []metaclient.ReplicaCheck{check(1, metaclient.Equal, ""),
			check(2, metaclient.Differs, "not as on node 1, first in the batch that ends at offset 77"), check(3, metaclient.Unchecked, "the node is fenced")}},
	}}
	for _, f := range []cli.Format{cli.Table, cli.Wide, cli.CSV} {
		var b bytes.Buffer
		if err := cli.Write(&b, f, cli.Style{}, replicaView(r, f == cli.Wide)); err != nil {
			t.Fatal(err)
		}
		golden(t, "partition-verify-"+string(f), b.String())
	}
}
