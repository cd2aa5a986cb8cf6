package metalog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOnlyTheSimulatorSeedsBugs holds that no code outside the simulator and this package's core names the seeded bugs.
func TestOnlyTheSimulatorSeedsBugs(t *testing.T) {
	files := 0
	for _, root := range []string{"../../internal", "../../cmd"} {
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.Contains(path, "internal/sim/") || strings.Contains(path, "internal/metalog/") {
				return err
			}
			files++
			b, err := os.ReadFile(path)
			if err == nil && (strings.Contains(string(b), "metalog.NewSimCore") || strings.Contains(string(b), "metalog.Bug")) {
				t.Errorf("%s uses the seeded bugs of the metadata log", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 10 {
		t.Fatalf("only %d files were looked at", files)
	}
}
