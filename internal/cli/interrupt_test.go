package cli

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// A tool that waits for something after the first Ctrl-C is ended by the second.
func TestSecondInterruptEnds(t *testing.T) {
	const child = "CHRONIK_TEST_INTERRUPT"
	if os.Getenv(child) != "" {
		os.Exit(Main(OSEnv(), Tool{Name: "slow", Build: func(_ *App, root *cobra.Command) {
			root.RunE = func(cmd *cobra.Command, _ []string) error {
				fmt.Println("begun")
				<-cmd.Context().Done()
				time.Sleep(100 * time.Millisecond) // the handler goes a moment after the context
				fmt.Println("waits")
				time.Sleep(time.Minute)
				return nil
			}
		}}, []string{}))
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestSecondInterruptEnds$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() }).Stop()
	said := bufio.NewScanner(out)
	for _, want := range []string{"begun", "waits"} {
		if !said.Scan() || said.Text() != want {
			t.Fatalf("it says %q, not %q", said.Text(), want)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
	}
	err = cmd.Wait()
	if err == nil || !strings.Contains(err.Error(), syscall.SIGINT.String()) {
		t.Errorf("it ended with %v", err)
	}
}
