package kafkaserver

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The list of APIs for users is the table of the server, no row more and no row less.
func TestDocumentListsTheAPIs(t *testing.T) {
	b, err := os.ReadFile("../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## APIs\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := 0
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| key ") {
			rows++
		}
	}
	served := 0
	for k, a := range apis {
		if a == nil || a.private {
			continue
		}
		served++
		if want := fmt.Sprintf("\n| %d | %s | %d–%d |", k, kmsg.NameForKey(int16(k)), a.serveMin, a.max); !strings.Contains(section, want) {
			t.Errorf("docs/compatibility.md has no row beginning with%s", want)
		}
	}
	if rows != served {
		t.Errorf("docs/compatibility.md lists %d APIs, %d are served", rows, served)
	}
}
