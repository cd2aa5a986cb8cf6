package partition

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

const childEnv = "CHRONIK_PARTITION_CHILD"

func killOptions(dir string) StoreOptions {
	return StoreOptions{FS: vfs.OS, Dir: dir, Logger: quiet(), MinFreeBytes: 1,
		WAL: wal.Options{SlotBytes: 1 << 20, MaxBytes: 8 << 20, ZeroStep: 256 << 10, RingBytes: 1 << 20}}
}

// TestMain runs the child of TestKilledProcess instead of the tests when asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		fmt.Fprintln(os.Stderr, childAppends(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// childAppends appends for ever and prints a line for every durable batch.
func childAppends(dir string) error {
	s, err := OpenStore(killOptions(dir))
	if err != nil {
		return err
	}
	go func() {
		if err := s.Run(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	cfg := DefaultLogConfig()
	cfg.SegmentBytes, cfg.RetentionBytes = 1<<20, 8<<20
	var logs []*Log
	acked := make(chan string, 1024)
	for p := range int32(4) {
		l := s.Get(testID(1, p))
		if l == nil {
			if l, err = s.Create(testID(1, p), 0, cfg); err != nil {
				return err
			}
		}
		l.SetConfig(cfg)
		l.SetHighWatermark(l.End())
		l.OnDurable(func(end int64) {
			l.SetHighWatermark(end)
			acked <- fmt.Sprintf("%d %d\n", p, end)
		})
		logs = append(logs, l)
	}
	go func() {
		for i := 0; ; i++ {
			l := logs[i%len(logs)]
			for s.Admit(10_000) != nil {
				time.Sleep(time.Millisecond)
			}
			b := makeBatch(1+i%3, 500*(i%10), testTime, func(b *recordbatch.Builder) { b.SetProducer(int64(os.Getpid()), 0, 0) })
			recordbatch.PatchBaseOffset(b, 0)
			info, err := recordbatch.Validate(b, recordbatch.Limits{})
			if err == nil {
				info.ProducerID = -1 // sequences are not what is tested here
				_, err = l.Append(b, AppendOptions{Info: info, NowMs: testTime})
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}()
	out := bufio.NewWriter(os.Stdout)
	for line := range acked {
		if _, err := out.WriteString(line); err != nil {
			return err
		}
		if len(acked) == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// A process is killed in full swing, again and again on the same directory: every batch it called durable is there.
func TestKilledProcess(t *testing.T) {
	dir := t.TempDir()
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var killer *time.Timer
		ends := map[int32]int64{}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if killer == nil { // it is up
				killer = time.AfterFunc(time.Duration(200+round*150)*time.Millisecond, func() { _ = cmd.Process.Kill() })
			}
			var p int32
			var end int64
			if n, _ := fmt.Sscanf(lines.Text(), "%d %d", &p, &end); n == 2 && end >= ends[p] {
				ends[p] = end
			}
		}
		_ = cmd.Wait() // killed
		if killer != nil {
			killer.Stop()
		}
		s, err := OpenStore(killOptions(dir))
		if err != nil {
			t.Fatal(err)
		}
		if len(ends) == 0 {
			t.Fatal("nothing was appended")
		}
		for p, end := range ends {
			l := s.Get(testID(1, p))
			if l == nil || l.End() < end {
				t.Fatalf("round %d, partition %d: ends at %d, %d was durable", round, p, l.End(), end)
			}
			if _, err := readAll(l); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		t.Logf("round %d: %v durable", round, ends)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
