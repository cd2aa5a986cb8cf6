package top

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/chronik-io/chronik/internal/cli"
)

// filter selects events: a regular expression over the whole line, `!` before it for the opposite, `field:value` for one field.
type filter struct {
	text  string
	terms []term
}

type term struct {
	field  string // "", type, entity, what, offset, epoch
	expr   *regexp.Regexp
	negate bool
}

var filterFields = []string{"type", "entity", "what", "offset", "epoch"}

// parseFilter reads terms separated by blanks; all of them must match.
func parseFilter(s string) (filter, error) {
	f := filter{text: strings.TrimSpace(s)}
	for _, word := range strings.Fields(s) {
		var t term
		t.negate = strings.HasPrefix(word, "!")
		word = strings.TrimPrefix(word, "!")
		if field, value, ok := strings.Cut(word, ":"); ok {
			for _, known := range filterFields {
				if field == known {
					t.field, word = field, value
				}
			}
			if t.field == "" && regexp.MustCompile(`^[a-z]+$`).MatchString(field) {
				if near := cli.Nearest(field, filterFields); near != "" {
					return f, fmt.Errorf("no field %s (did you mean %s?)", field, near)
				}
			}
		}
		if word == "" {
			continue
		}
		expr, err := regexp.Compile("(?i)" + word)
		if err != nil {
			return f, fmt.Errorf("no regular expression: %s", word)
		}
		t.expr = expr
		f.terms = append(f.terms, t)
	}
	return f, nil
}

func (f filter) empty() bool { return len(f.terms) == 0 }

// match says whether an event is selected.
func (f filter) match(e Event) bool {
	for _, t := range f.terms {
		if t.expr.MatchString(t.value(e)) == t.negate {
			return false
		}
	}
	return true
}

func (t term) value(e Event) string {
	switch t.field {
	case "type":
		return e.Type
	case "entity":
		return e.Key
	case "what":
		return e.What
	case "offset":
		return fmt.Sprint(e.Offset)
	case "epoch":
		return fmt.Sprint(e.Epoch)
	}
	return e.Type + " " + e.Key + " " + e.What
}

// matchName applies the filter to a topic's name.
func (f filter) matchName(name string) bool {
	for _, t := range f.terms {
		if t.field == "" && t.expr.MatchString(name) == t.negate {
			return false
		}
	}
	return true
}
