package lint

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/chronik-io/chronik"

// layers lists the internal packages, leaves first. A package may import every package of an earlier layer.
var layers = []struct {
	name     string
	packages []string
}{
	{"leaves", []string{"version", "uuid", "config", "vfs", "recordbatch", "chronikapi", "lint"}},
	{"storage", []string{"wal", "partition"}},
	{"control", []string{"metadata", "metalog", "metadir", "logdir", "membership", "placement", "controller"}},
	{"data", []string{"replica", "peer", "group", "txn"}},
	{"policy", []string{"authn", "authz", "quota"}},
	{"server", []string{"kafkaserver", "node"}},
	{"tools", []string{"metaclient", "cli", "ctl", "bench", "top"}},
	{"tests", []string{"sim", "testcluster"}},
}

// siblings lists the arrows allowed inside a layer.
var siblings = map[string][]string{
	"partition":   {"wal"},
	"metalog":     {"metadata"},
	"metadir":     {"metadata", "metalog"},
	"membership":  {"metadata", "metalog"},
	"placement":   {"metadata"},
	"controller":  {"metadata", "metalog", "placement"},
	"replica":     {"peer"},
	"node":        {"kafkaserver"},
	"ctl":         {"cli", "metaclient"},
	"bench":       {"cli", "metaclient"},
	"top":         {"cli", "metaclient"},
	"metaclient":  {"cli"},
	"testcluster": {},
}

// notForTools lists what the tools must not reach into: they speak Kafka's protocol and share only pure packages. metadir and logdir are
// the exceptions: they read the directory of a node that does not run, which no protocol can.
var notForTools = []string{"wal", "partition", "metalog", "membership", "controller", "replica", "peer", "group", "txn", "kafkaserver", "node"}

// libraries says which packages may import a library directly. A trailing slash is a prefix.
var libraries = []struct {
	library string
	allowed []string
}{
	{"github.com/spf13/cobra", []string{"internal/cli", "internal/ctl", "internal/config", "internal/bench", "internal/top", "internal/node", "cmd/"}},
	{"github.com/spf13/viper", []string{"internal/cli", "internal/ctl", "internal/config", "cmd/"}},
	{"charm.land/", []string{"internal/top"}},
	{"github.com/hashicorp/raft", []string{"internal/membership"}},
	{"go.etcd.io/bbolt", []string{"internal/membership"}},
	{"github.com/twmb/franz-go/pkg/kgo", []string{"internal/metaclient", "internal/ctl", "internal/bench", "internal/top", "internal/testcluster", "tests/"}},
	{"github.com/twmb/franz-go/pkg/kadm", []string{"internal/metaclient", "internal/ctl", "internal/bench", "internal/top", "internal/testcluster", "tests/"}},
	{"github.com/twmb/franz-go/pkg/kmsg", []string{"internal/chronikapi", "internal/kafkaserver", "internal/group", "internal/node", "internal/metaclient", "internal/ctl", "internal/bench", "internal/top", "internal/testcluster", "tests/"}},
	{"github.com/twmb/franz-go/pkg/kerr", []string{"internal/kafkaserver", "internal/metaclient", "internal/cli", "internal/ctl", "internal/bench", "internal/top", "internal/testcluster", "tests/"}},
}

type goPackage struct {
	ImportPath string
	Doc        string
	Dir        string
	GoFiles    []string
	Imports    []string
}

// listPackages returns every package of the module as `go list` sees it.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Dir,GoFiles,Imports", module+"/...")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	for dec := json.NewDecoder(out); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("go list: %v", err)
	}
	if len(all) < 5 {
		t.Fatalf("go list found only %d packages: the rules below would hold for nothing", len(all))
	}
	return all
}

// place returns the layer of an import path below internal/, and the package's first folder name.
func place(path string) (layer int, name string) {
	rest, ok := strings.CutPrefix(path, module+"/internal/")
	if !ok {
		return -1, ""
	}
	name, _, _ = strings.Cut(rest, "/")
	for i, l := range layers {
		if slices.Contains(l.packages, name) {
			return i, name
		}
	}
	return -1, name
}

func TestImportsPointTowardsTheLeaves(t *testing.T) {
	tools := slices.IndexFunc(layers, func(l struct {
		name     string
		packages []string
	}) bool {
		return l.name == "tools"
	})
	for _, p := range listPackages(t) {
		from, name := place(p.ImportPath)
		if name == "" {
			continue
		}
		if from < 0 {
			t.Errorf("%s stands in no layer: add it to the table", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			to, target := place(imp)
			switch {
			case target == "" || target == name:
			case to < 0:
				t.Errorf("%s imports %s, which stands in no layer", p.ImportPath, imp)
			case to > from, to == from && !slices.Contains(siblings[name], target):
				t.Errorf("%s (%s) must not import %s (%s)", p.ImportPath, layers[from].name, imp, layers[to].name)
			case from == tools && slices.Contains(notForTools, target):
				t.Errorf("%s is a tool and must not import %s", p.ImportPath, imp)
			}
		}
	}
}

func TestLibrariesStayInTheirPackages(t *testing.T) {
	for _, p := range listPackages(t) {
		own := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, imp := range p.Imports {
			for _, l := range libraries {
				if imp != l.library && !strings.HasPrefix(imp, strings.TrimSuffix(l.library, "/")+"/") {
					continue
				}
				ok := slices.ContainsFunc(l.allowed, func(a string) bool {
					return own == a || strings.HasPrefix(own, strings.TrimSuffix(a, "/")+"/")
				})
				if !ok {
					t.Errorf("%s must not import %s (allowed: %s)", p.ImportPath, imp, strings.Join(l.allowed, ", "))
				}
			}
		}
	}
}

func TestEveryPackageSaysWhyItExists(t *testing.T) {
	for _, p := range listPackages(t) {
		if len(p.GoFiles) > 0 && len(p.Doc) < 20 {
			t.Errorf("%s has no package comment (why, invariants, ownership, files)", p.ImportPath)
		}
	}
}
