// Package completions holds the generated shell completions; its test keeps them equal to what the binaries print.
package completions

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// files says where each shell's script of a binary lies. scripts/completions.sh writes the same paths.
var files = []struct{ shell, dir, prefix, suffix string }{
	{"bash", "bash", "", ""},
	{"zsh", "zsh", "_", ""},
	{"fish", "fish", "", ".fish"},
	{"powershell", "powershell", "", ".ps1"},
}

var binaries = []string{"chronik-server", "chronikctl", "chronik-bench", "chronik-top"}

func TestCompletionsAreWhatTheBinariesPrint(t *testing.T) {
	watchSources(t)
	bin := t.TempDir()
	args := []string{"build", "-o", bin + string(filepath.Separator)}
	for _, b := range binaries {
		args = append(args, "../cmd/"+b)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, b := range binaries {
		for _, f := range files {
			want, err := exec.Command(filepath.Join(bin, b), "completion", f.shell).Output()
			if err != nil {
				t.Errorf("%s completion %s: %v", b, f.shell, err)
				continue
			}
			path := filepath.Join(f.dir, f.prefix+b+f.suffix)
			got, err := os.ReadFile(path)
			if err != nil || string(got) != string(want) {
				t.Errorf("completions/%s is not what %s prints (%v): run make completions", path, b, err)
			}
		}
	}
}

// watchSources looks at the sources of the commands, so that go test does not answer from its cache when one has changed.
func watchSources(t *testing.T) {
	for _, dir := range []string{"../cmd", "../internal/cli", "../internal/ctl", "../internal/bench", "../internal/top", "../internal/config"} {
		err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err == nil {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestScriptsAreValid lets each shell that is installed parse its scripts.
func TestScriptsAreValid(t *testing.T) {
	for _, f := range files {
		shell, err := exec.LookPath(f.shell)
		if err != nil || f.shell == "powershell" {
			continue
		}
		for _, b := range binaries {
			path := filepath.Join(f.dir, f.prefix+b+f.suffix)
			if out, err := exec.Command(shell, "-n", path).CombinedOutput(); err != nil {
				t.Errorf("%s -n %s: %v\n%s", f.shell, path, err, out)
			}
		}
	}
}
