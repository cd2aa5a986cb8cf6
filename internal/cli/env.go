package cli

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Env is everything a command may touch outside its own memory.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	// InTTY, OutTTY and ErrTTY say whether a person is at the other end.
	InTTY, OutTTY, ErrTTY bool
	// Width is the width of the terminal in columns, 0 when there is none.
	Width  int
	Now    func() time.Time
	Getenv func(string) string
	// ConfigDir holds profiles.toml, CacheDir the names for completion. Empty: there is none.
	ConfigDir, CacheDir string
}

// OSEnv is the environment of the process.
func OSEnv() *Env {
	e := &Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Now: time.Now, Getenv: os.Getenv}
	e.InTTY, e.OutTTY, e.ErrTTY = isTerminal(os.Stdin), isTerminal(os.Stdout), isTerminal(os.Stderr)
	if e.OutTTY {
		e.Width = terminalWidth(os.Stdout)
	} else if e.ErrTTY {
		e.Width = terminalWidth(os.Stderr)
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 && e.OutTTY {
		e.Width = n
	}
	if d, err := os.UserConfigDir(); err == nil {
		e.ConfigDir = filepath.Join(d, "chronik")
	}
	if d, err := os.UserCacheDir(); err == nil {
		e.CacheDir = filepath.Join(d, "chronik")
	}
	return e
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), ioctlGetTermios)
	return err == nil
}

func terminalWidth(f *os.File) int {
	ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(ws.Col)
}
