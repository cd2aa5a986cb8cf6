package cli

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// CompletionDeadline bounds how long pressing TAB may ask the cluster.
const CompletionDeadline = 300 * time.Millisecond

// completionFresh is how long cached names are used without asking again.
const completionFresh = 10 * time.Second

// maxCompletions bounds a cache file.
const maxCompletions = 10_000

// Shells are the shells we generate completions for.
var Shells = []string{"bash", "zsh", "fish", "powershell"}

func completionCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use: "completion SHELL", Short: "Print the completion script for bash, zsh, fish or powershell",
		Example:   fmt.Sprintf("  %[1]s completion bash > /etc/bash_completion.d/%[1]s\n  %[1]s completion zsh > \"${fpath[1]}/_%[1]s\"", app.Name),
		Args:      cobra.ExactArgs(1),
		ValidArgs: Shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(Shells, args[0]) {
				return Usagef("unknown shell %q: must be one of %s", args[0], strings.Join(Shells, ", "))
			}
			return WriteCompletion(cmd.Root(), args[0], app.Out)
		},
	}
	return cmd
}

// WriteCompletion prints the completion script of a root command.
func WriteCompletion(root *cobra.Command, shell string, w io.Writer) error {
	switch shell {
	case "bash":
		return root.GenBashCompletionV2(w, true)
	case "zsh":
		return root.GenZshCompletion(w)
	case "fish":
		return root.GenFishCompletion(w, true)
	}
	return root.GenPowerShellCompletionWithDesc(w)
}

// CompleteNames serves dynamic values: from a fresh cache file, else from the cluster within the deadline, else from an
// old cache file. It is silent when the cluster is away. key names the kind of value and the cluster.
func (a *App) CompleteNames(key, prefix string, fetch func(within time.Duration) ([]string, error)) []string {
	path := a.cachePath(key)
	names, at := readNames(path)
	if a.Now().Sub(at) > completionFresh {
		if got, err := fetch(CompletionDeadline); err == nil {
			names = got[:min(len(got), maxCompletions)]
			writeNames(path, names, a.Now())
		}
	}
	var out []string
	for _, n := range names {
		if strings.HasPrefix(n, prefix) {
			out = append(out, n)
		}
	}
	return out
}

type nameCache struct {
	At    time.Time `json:"at"`
	Names []string  `json:"names"`
}

func (a *App) cachePath(key string) string {
	if a.CacheDir == "" {
		return ""
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, key)
	return filepath.Join(a.CacheDir, fmt.Sprintf("names-%016x.json", h.Sum64()))
}

func readNames(path string) ([]string, time.Time) {
	b, err := os.ReadFile(path)
	if path == "" || err != nil {
		return nil, time.Time{}
	}
	var c nameCache
	if json.Unmarshal(b, &c) != nil {
		return nil, time.Time{}
	}
	return c.Names, c.At
}

// writeNames replaces the cache file; a failure only makes the next TAB slower.
func writeNames(path string, names []string, now time.Time) {
	if path == "" {
		return
	}
	b, err := json.Marshal(nameCache{now, names})
	if err != nil || os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return
	}
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	if os.WriteFile(tmp, b, 0o600) == nil {
		_ = os.Rename(tmp, path)
	}
}
