package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Progress is one line on standard error that is rewritten in place. Without a terminal it prints nothing.
type Progress struct {
	app   *App
	mu    sync.Mutex
	last  time.Time
	width int
	off   bool
}

// NewProgress starts a progress line.
func (a *App) NewProgress() *Progress {
	return &Progress{app: a, off: a.Quiet || !a.ErrTTY || a.Getenv("TERM") == "dumb"}
}

// Set replaces the line, at most ten times per second.
func (p *Progress) Set(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.app.Now()
	if p.off || now.Sub(p.last) < 100*time.Millisecond {
		return
	}
	p.last = now
	line := fmt.Sprintf(format, args...)
	limit := p.app.Width - 1
	if n := utf8.RuneCountInString(line); limit > 0 && n > limit {
		line = string([]rune(line)[:limit])
	}
	n := utf8.RuneCountInString(line)
	pad := max(0, p.width-n)
	p.width = n
	fmt.Fprintf(p.app.Err, "\r%s%s", line, strings.Repeat(" ", pad))
}

// Clear removes the line.
func (p *Progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off || p.width == 0 {
		return
	}
	fmt.Fprintf(p.app.Err, "\r%s\r", strings.Repeat(" ", p.width))
	p.width = 0
	p.last = time.Time{}
}

// Bar draws a bar of the given width for a share between 0 and 1.
func Bar(share float64, width int) string {
	share = min(max(share, 0), 1)
	full := int(share * float64(width))
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}
