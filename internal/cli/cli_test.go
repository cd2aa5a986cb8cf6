package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "rewrite goldens")

// testEnv is an environment without a process: buffers, a fixed clock, no terminal.
func testEnv(in string) (*Env, *bytes.Buffer, *bytes.Buffer) {
	var out, errOut bytes.Buffer
	return &Env{In: strings.NewReader(in), Out: &out, Err: &errOut, Now: func() time.Time { return time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC) },
		Getenv: func(string) string { return "" }}, &out, &errOut
}

// toolWith is a tool with one command that does what run does.
func toolWith(run func(app *App, cmd *cobra.Command) error) Tool {
	return Tool{Name: "tool", Short: "a tool", Build: func(app *App, root *cobra.Command) {
		group := &cobra.Command{Use: "thing", Short: "things"}
		group.AddCommand(&cobra.Command{Use: "list", Short: "list things", RunE: func(cmd *cobra.Command, _ []string) error { return run(app, cmd) }})
		root.AddCommand(group)
	}}
}

func TestExitCodes(t *testing.T) {
	cases := []struct {
		name string
		args []string
		err  error
		want int
	}{
		{"ok", []string{"thing", "list"}, nil, 0},
		{"plain failure", []string{"thing", "list"}, errors.New("boom"), 1},
		{"unknown command", []string{"thing", "lsit"}, nil, 2},
		{"unknown root command", []string{"nothing"}, nil, 2},
		{"unknown flag", []string{"thing", "list", "--bootstap", "x"}, nil, 2},
		{"flag without value", []string{"thing", "list", "--timeout"}, nil, 2},
		{"bad colour", []string{"thing", "list", "--color", "pink"}, nil, 2},
		{"usage error", []string{"thing", "list"}, Usagef("bad"), 2},
		{"deadline", []string{"thing", "list"}, fmt.Errorf("ask: %w", context.DeadlineExceeded), 3},
		{"denied", []string{"thing", "list"}, &Error{Code: ExitDenied, What: "no"}, 4},
		{"partial, said already", []string{"thing", "list"}, SilentExit(ExitPartial), 5},
		{"answer is no", []string{"thing", "list"}, SilentExit(ExitNo), 10},
		{"wrapped", []string{"thing", "list"}, fmt.Errorf("while: %w", &Error{Code: ExitDenied}), 4},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			env, out, errOut := testEnv("")
			got := Run(context.Background(), env, toolWith(func(*App, *cobra.Command) error { return c.err }), c.args)
			if got != c.want {
				t.Errorf("exit code %d, want %d (stderr %q)", got, c.want, errOut)
			}
			if out.Len() > 0 {
				t.Errorf("standard output holds %q", out)
			}
			if silent := c.err != nil && ExitCode(c.err) == c.want && strings.Contains(c.name, "said already") || c.want == ExitNo; got != 0 && !silent && errOut.Len() == 0 {
				t.Error("a failure said nothing")
			}
		})
	}
}

func TestInterruptIs130(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	env, _, _ := testEnv("")
	got := Run(ctx, env, toolWith(func(_ *App, cmd *cobra.Command) error {
		cancel()
		return fmt.Errorf("read: %w", cmd.Context().Err())
	}), []string{"thing", "list"})
	if got != ExitInterrupted {
		t.Errorf("exit code %d, want 130", got)
	}
}

func TestDidYouMean(t *testing.T) {
	env, _, errOut := testEnv("")
	Run(context.Background(), env, toolWith(nil), []string{"thing", "lsit"})
	if !strings.Contains(errOut.String(), "next: tool thing list") {
		t.Errorf("no suggestion in %q", errOut)
	}
	env, _, errOut = testEnv("")
	Run(context.Background(), env, toolWith(nil), []string{"thing", "list", "--tiemout", "1s"})
	if !strings.Contains(errOut.String(), "did you mean --timeout?") {
		t.Errorf("no suggestion in %q", errOut)
	}
	for _, c := range []struct{ typed, want string }{{"ordrs", "orders"}, {"ORDERS", "orders"}, {"pay", "payments"}, {"zzzzzz", ""}, {"oredrs", "orders"}, {"", ""}} {
		if got := Nearest(c.typed, []string{"payments", "orders", "users"}); got != c.want {
			t.Errorf("Nearest(%q) = %q, want %q", c.typed, got, c.want)
		}
	}
}

// sampleView is an answer with everything a printer can trip over.
func sampleView() View {
	type item struct {
		Name  string   `json:"name"`
		Count int      `json:"count"`
		Tags  []string `json:"tags"`
		Note  *string  `json:"note"`
	}
	note := "a \"quoted\" <note>: yes"
	items := []item{{"orders", 12, []string{"a", "b"}, &note}, {"true", 3, []string{}, nil}}
	g := &Grid{Columns: []Column{{Title: "NAME"}, {Title: "COUNT", Right: true}, {Title: "STATE"}, {Title: "NOTE", Wide: true}}}
	g.Add("orders", 12, Cell{Text: "ok", Level: LevelGood}, note)
	g.Add("true", 3, Cell{Text: "away\x1b[31m", Level: LevelBad}, "")
	return View{Kind: "ThingList", Doc: items, Table: g, Names: []string{"thing/orders", "thing/true"}}
}

func TestFormatsMatchGoldens(t *testing.T) {
	for _, f := range AllFormats {
		var b bytes.Buffer
		if err := Write(&b, f, Style{}, sampleView()); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		golden(t, "format-"+string(f), b.Bytes())
	}
	var b bytes.Buffer
	if err := Write(&b, Table, Style{on: true}, sampleView()); err != nil {
		t.Fatal(err)
	}
	golden(t, "format-table-color", b.Bytes())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (run with -update to accept):\n--- got\n%s--- want\n%s", name, got, want)
	}
}

func TestJSONIsOneDocumentWithKindAndVersion(t *testing.T) {
	type object struct {
		A int `json:"a"`
	}
	for name, doc := range map[string]any{"list": []int{1, 2}, "empty list": []int{}, "nil list": []int(nil), "object": object{1}, "empty object": struct{}{}} {
		var b bytes.Buffer
		if err := Write(&b, JSON, Style{}, View{Kind: "K", Doc: doc}); err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(&b)
		var m map[string]any
		if err := dec.Decode(&m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if m["kind"] != "K" || m["version"] != 1.0 {
			t.Errorf("%s: %v", name, m)
		}
		if _, err := dec.Token(); err != io.EOF {
			t.Errorf("%s: more than one document", name)
		}
	}
}

func TestConfirm(t *testing.T) {
	cases := []struct {
		name    string
		in      string
		tty     bool
		change  Change
		word    string
		proceed bool
		code    int
	}{
		{"default is no", "\n", true, Change{}, "", false, ExitDeclined},
		{"end of input is no", "", true, Change{}, "", false, ExitDeclined},
		{"yes", "y\n", true, Change{}, "", true, 0},
		{"the word", "prod\n", true, Change{}, "prod", true, 0},
		{"y is not the word", "y\n", true, Change{}, "prod", false, ExitDeclined},
		{"no terminal", "y\n", false, Change{}, "", false, ExitUsage},
		{"no terminal, --yes", "", false, Change{Yes: true}, "prod", true, 0},
		{"--dry-run wins", "y\n", true, Change{Yes: true, DryRun: true}, "", false, 0},
	}
	for _, c := range cases {
		env, out, errOut := testEnv(c.in)
		env.InTTY = c.tty
		app := &App{Env: env, Flags: Flags{Color: "never"}}
		proceed, err := app.Confirm(c.change, "Delete it?", c.word, "tool delete it")
		if proceed != c.proceed || ExitCode(err) != c.code {
			t.Errorf("%s: proceed %v code %d, want %v %d", c.name, proceed, ExitCode(err), c.proceed, c.code)
		}
		if out.Len() > 0 {
			t.Errorf("%s: the question went to standard output: %q", c.name, out)
		}
		if e := (*Error)(nil); c.code == ExitUsage && (!errors.As(err, &e) || !strings.Contains(e.Next, "tool delete it --yes")) {
			t.Errorf("%s: the exact command is missing: %v", c.name, err)
		}
		_ = errOut
	}
}

func TestColourFollowsTheContract(t *testing.T) {
	for _, c := range []struct {
		flag, noColor, term string
		tty, want           bool
	}{{"auto", "", "xterm", true, true}, {"auto", "", "xterm", false, false}, {"auto", "1", "xterm", true, false}, {"auto", "", "dumb", true, false},
		{"always", "1", "dumb", false, true}, {"never", "", "xterm", true, false}} {
		env, _, _ := testEnv("")
		env.OutTTY = c.tty
		env.Getenv = func(k string) string { return map[string]string{"NO_COLOR": c.noColor, "TERM": c.term}[k] }
		app := &App{Env: env, Flags: Flags{Color: c.flag}}
		if got := app.OutStyle().on; got != c.want {
			t.Errorf("%+v: colour %v", c, got)
		}
	}
}

func TestNumbers(t *testing.T) {
	for in, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.00 KiB", 1536: "1.50 KiB", 10 << 20: "10.0 MiB", 123 << 30: "123 GiB", -1: "-"} {
		if got := Bytes(in); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[float64]string{0: "0", 999: "999", 1234: "1.23 K", 117_000: "117 K", 1_340_000: "1.34 M"} {
		if got := Rate(in); got != want {
			t.Errorf("Rate(%v) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		if got := Count(in); got != want {
			t.Errorf("Count(%d) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[time.Duration]string{412 * time.Microsecond: "412us", 1234 * time.Microsecond: "1.23ms", 4500 * time.Millisecond: "4.50s", 123 * time.Second: "2m03s", 50 * time.Hour: "2d2h"} {
		if got := Duration(in); got != want {
			t.Errorf("Duration(%s) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]int64{"1024": 1024, "1KiB": 1024, "1k": 1024, "10MB": 10_000_000, "1.5g": 3 << 29, "7 B": 7} {
		if got, err := ParseBytes(in); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "x", "-1", "1e30g", "NaN"} {
		if got, err := ParseBytes(in); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", in, got)
		}
	}
}

func TestCompletionNames(t *testing.T) {
	env, _, _ := testEnv("")
	now := env.Now()
	env.Now = func() time.Time { return now }
	env.CacheDir = t.TempDir()
	app := &App{Env: env}
	asked := 0
	fetch := func(within time.Duration) ([]string, error) {
		asked++
		if within != CompletionDeadline {
			t.Errorf("%s to answer", within)
		}
		return []string{"orders", "payments"}, nil
	}
	if got := app.CompleteNames("k", "or", fetch); len(got) != 1 || got[0] != "orders" {
		t.Errorf("got %v", got)
	}
	app.CompleteNames("k", "", fetch)
	if asked != 1 {
		t.Errorf("asked %d times within the cache's life", asked)
	}
	now = now.Add(time.Hour)
	away := func(time.Duration) ([]string, error) { return nil, errors.New("away") }
	if got := app.CompleteNames("k", "pay", away); len(got) != 1 {
		t.Errorf("old names are not used when the cluster is away: %v", got)
	}
	if got := app.CompleteNames("other", "", away); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestProgressIsSilentWithoutATerminal(t *testing.T) {
	env, _, errOut := testEnv("")
	app := &App{Env: env}
	app.NewProgress().Set("working %d", 1)
	if errOut.Len() > 0 {
		t.Errorf("wrote %q", errOut)
	}
	env.ErrTTY, env.Width = true, 10
	p := app.NewProgress()
	p.Set("0123456789abcdef")
	if got := errOut.String(); got != "\r012345678" {
		t.Errorf("wrote %q", got)
	}
	p.Clear()
	if !strings.HasSuffix(errOut.String(), "\r") {
		t.Error("the line was not cleared")
	}
}

func TestKafkaSpellingsOfBootstrap(t *testing.T) {
	for _, flag := range []string{"--bootstrap", "--bootstrap-server", "--bootstrap-servers", "--brokers", "-b"} {
		env, _, errOut := testEnv("")
		var got []string
		tool := toolWith(func(app *App, _ *cobra.Command) error { got = app.Bootstrap; return nil })
		if code := Run(context.Background(), env, tool, []string{"thing", "list", flag, "a:1,b:2"}); code != 0 || len(got) != 2 {
			t.Errorf("%s: code %d, %v, %s", flag, code, got, errOut)
		}
	}
}

// What is wrong with a flag's value is said in words, not in those of the parser.
func TestFlagErrors(t *testing.T) {
	root := &cobra.Command{Use: "tool", RunE: func(*cobra.Command, []string) error { return nil }, SilenceErrors: true, SilenceUsage: true}
	root.Flags().Int32P("number", "n", 0, "")
	root.Flags().Int32Slice("numbers", nil, "")
	root.Flags().Float64("rate", 0, "")
	root.Flags().Duration("wait", 0, "")
	root.Flags().Bool("on", false, "")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return FlagError(err) })
	for args, want := range map[string]string{
		"-n x":                   `-n, --number: "x" is no whole number`,
		"-n 99999999999":         `-n, --number: "99999999999" is out of range`,
		"--numbers 1,x":          `--numbers: "1,x" is no whole number`,
		"--rate x":               `--rate: "x" is no number`,
		"--wait 5":               `--wait: "5" is no duration: a number with its unit, such as 500ms, 10s or 2m`,
		"--on=x":                 `--on: "x" is neither true nor false`,
		"--nothing":              "unknown flag: --nothing",
		"--number 1 --wait 500x": `--wait: "500x" is no duration: a number with its unit, such as 500ms, 10s or 2m`,
	} {
		root.SetArgs(strings.Fields(args))
		if err := root.Execute(); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}
