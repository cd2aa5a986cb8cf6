package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Change is the -y and --dry-run of a command that changes something.
type Change struct {
	Yes, DryRun bool
}

// Register adds the two flags.
func (c *Change) Register(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&c.Yes, "yes", "y", false, "do it without asking")
	cmd.Flags().BoolVar(&c.DryRun, "dry-run", false, "show what would be done, and do nothing")
}

// Confirm asks before a change. It returns proceed=false on a dry run.
// word is what must be typed where data can be lost (a cluster's or topic's name); "" asks for y.
// again is the command that does it without a terminal.
func (a *App) Confirm(c Change, question, word, again string) (proceed bool, err error) {
	if c.DryRun {
		a.Hintf("dry run: nothing was changed")
		return false, nil
	}
	if c.Yes {
		return true, nil
	}
	if !a.InTTY {
		return false, Usagef("%s: there is no terminal to ask on", strings.TrimSuffix(question, "?")).WithNext("%s --yes   (or --dry-run)", again)
	}
	if word == "" {
		fmt.Fprintf(a.Err, "%s [y/N] ", question)
	} else {
		fmt.Fprintf(a.Err, "%s\nType %s to go on: ", question, a.ErrStyle().Bold(word))
	}
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil && err != io.EOF {
		return false, fmt.Errorf("read answer: %w", err)
	}
	answer := strings.TrimSpace(line)
	ok := word != "" && answer == word || word == "" && (strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes"))
	if !ok {
		return false, &Error{Code: ExitDeclined, What: "declined; nothing was changed"}
	}
	return true, nil
}
