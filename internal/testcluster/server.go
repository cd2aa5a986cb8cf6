package testcluster

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 60 * time.Second
	maxLog       = 1 << 20 // bytes of a process's log that are kept
)

// Options configures Start.
type Options struct {
	Dir    string   // data directory; a temporary one when empty
	Config string   // text of a configuration file; "" for none
	Args   []string // further flags of start
	Env    []string // further environment
	Binary string   // "" for a build of this repository
	// KernelPorts starts on port 0. Otherwise ports outside the kernel's range are chosen: from inside it a client that dials
	// a server which is down may be given the very port it dials, be connected to itself, and keep the server from starting.
	KernelPorts bool
	// Of StartCluster: what follows Config in the configuration of the node at an index, or nil; and whether the nodes' ports for each other
	// are behind Cluster.Net.
	NodeConfig func(node int) string
	Proxied    bool
}

// Server is one process.
type Server struct {
	Kafka, WAL, Raft, HTTP string // bound addresses
	Dir                    string
	ReadyMs                int64 // as the server says
	StartTook              time.Duration

	o      Options
	t      testing.TB
	up     func()     // before the process starts; may be nil
	down   func()     // when it has ended
	mu     sync.Mutex // guards the rest
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // of the process, once exited is closed
	log    logTail
}

// buildDir is where binaries are built, made once per test binary.
var buildDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "chronik-test-") })

// builds compile the server and the tools, each once per test binary.
var builds = map[string]func() (string, error){
	"chronik-server": sync.OnceValues(func() (string, error) { return compile("chronik-server") }),
	"chronikctl":     sync.OnceValues(func() (string, error) { return compile("chronikctl") }),
	"chronik-top":    sync.OnceValues(func() (string, error) { return compile("chronik-top") }),
}

func compile(name string) (string, error) {
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-o", path, "github.com/chronik-io/chronik/cmd/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// Tool returns the path of a command, chronik-server, chronikctl or chronik-top, built from this repository.
func Tool(t testing.TB, name string) string {
	t.Helper()
	build, ok := builds[name]
	if !ok {
		t.Fatalf("no command %q is built for tests", name)
	}
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Binary returns the path of a server built from this repository, or CHRONIK_TEST_BINARY.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("CHRONIK_TEST_BINARY"); path != "" {
		return path
	}
	return Tool(t, "chronik-server")
}

// Cleanup removes the builds; call it at the end of TestMain.
func Cleanup() {
	if dir, err := buildDir(); err == nil {
		_ = os.RemoveAll(dir) // what is left is in the temporary directory
	}
}

// Start runs a server and waits until it is ready.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "data")
	}
	if o.Binary == "" {
		o.Binary = Binary(t)
	}
	s := &Server{t: t, o: o, Dir: o.Dir}
	for _, address := range []*string{&s.Kafka, &s.WAL, &s.Raft, &s.HTTP} {
		*address = "127.0.0.1:0"
		if !o.KernelPorts {
			*address = freeAddress(t)
		}
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("log of the server:\n%s", s.Log())
		}
	})
	s.Restart()
	return s
}

// freeAddress finds a port below the range from which the kernel gives ports to clients.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)))
		if err != nil {
			continue
		}
		address := l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return address
	}
	t.Fatal("no free port")
	return ""
}

// Restart starts the process again, on the same directory and ports, and waits until it is ready.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.TryRestart(); err != nil {
		s.t.Fatalf("start chronik-server: %v\n%s", err, s.Log())
	}
}

// TryRestart is Restart for starts that may fail.
func (s *Server) TryRestart() error {
	args := []string{"start", "--data-dir", s.Dir, "--kafka", s.Kafka, "--wal", s.WAL, "--raft", s.Raft, "--http", s.HTTP}
	if s.o.Config != "" {
		path := filepath.Join(s.t.TempDir(), "node.toml")
		if err := os.WriteFile(path, []byte(s.o.Config), 0o600); err != nil {
			return err
		}
		args = append(args, "--config", path)
	}
	cmd := exec.Command(s.o.Binary, append(args, s.o.Args...)...)
	cmd.Env = append(os.Environ(), s.o.Env...)
	cmd.Stderr = &s.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if s.up != nil {
		s.up()
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	s.mu.Lock()
	s.cmd, s.exited, s.err = cmd, exited, nil
	s.mu.Unlock()
	ready := make(chan string, 1)
	go func() {
		scan := bufio.NewScanner(out)
		for scan.Scan() {
			select {
			case ready <- scan.Text():
			default:
				fmt.Fprintln(&s.log, scan.Text())
			}
		}
		_, _ = io.Copy(io.Discard, out)
		err := cmd.Wait()
		if s.down != nil {
			s.down()
		}
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
		close(exited)
	}()
	select {
	case line := <-ready:
		s.StartTook = time.Since(begin)
		return s.parseReady(line)
	case <-exited:
		return fmt.Errorf("process ended before it was ready: %w", s.exitError())
	case <-time.After(startTimeout):
		s.Kill()
		return fmt.Errorf("not ready within %v", startTimeout)
	}
}

var field = regexp.MustCompile(`(\w+)=("[^"]*"|\S+)`)

// parseReady reads the line that a server prints when it serves.
func (s *Server) parseReady(line string) error {
	values := map[string]string{}
	for _, m := range field.FindAllStringSubmatch(line, -1) {
		values[m[1]] = strings.Trim(m[2], `"`)
	}
	if values["msg"] != "ready" {
		return fmt.Errorf("not a ready line: %q", line)
	}
	s.Kafka, s.WAL, s.Raft, s.HTTP = values["kafka"], values["wal"], values["raft"], values["http"]
	var err error
	s.ReadyMs, err = strconv.ParseInt(values["ms"], 10, 64)
	return err
}

// Pid is the process's id, also when it has ended; 0 before the first start.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

// Kill ends the process with SIGKILL and waits for its end. It does nothing when it has ended.
func (s *Server) Kill() { _ = s.Signal(syscall.SIGKILL, startTimeout) }

// Stop ends the process with SIGTERM and returns how it exited.
func (s *Server) Stop() error { return s.Signal(syscall.SIGTERM, startTimeout) }

// Signal sends a signal and waits for the end of the process.
func (s *Server) Signal(sig syscall.Signal, within time.Duration) error {
	s.mu.Lock()
	cmd, exited := s.cmd, s.exited
	s.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-exited:
		return s.exitError()
	case <-time.After(within):
		return fmt.Errorf("still running %v after %v", within, sig)
	}
}

// Exited is closed when the process has ended.
func (s *Server) Exited() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exited
}

func (s *Server) exitError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Log returns the end of what the process has written.
func (s *Server) Log() string { return s.log.String() }

// Get asks the http port.
func (s *Server) Get(path string) (status int, body string, err error) {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get("http://" + s.HTTP + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// RSS is the process's resident memory in bytes.
func (s *Server) RSS() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("no VmRSS")
}

// logTail keeps the end of what is written to it.
type logTail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *logTail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len()+len(p) > maxLog {
		l.b.Next(l.b.Len() / 2)
	}
	return l.b.Write(p)
}

// String returns what was kept.
func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
