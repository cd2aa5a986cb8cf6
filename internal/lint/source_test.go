package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	maxFileLines     = 800
	maxFunctionLines = 100
)

// vagueNames are folder names that say nothing about what may be in them.
var vagueNames = map[string]bool{"util": true, "utils": true, "common": true, "helper": true, "helpers": true, "manager": true, "base": true, "misc": true}

// unfinished finds words that promise work nobody will do.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)

// eachGoFile calls fn with every Go file of the repository, relative to its root.
func eachGoFile(t *testing.T, fn func(path string)) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); strings.HasPrefix(name, ".") && path != root || name == "chronik-data" || name == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(path, ".go") {
			found++
			fn(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 10 {
		t.Fatalf("found only %d Go files", found)
	}
}

func TestFilesAndFunctionsStaySmall(t *testing.T) {
	eachGoFile(t, func(path string) {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		if strings.HasSuffix(path, "_test.go") || strings.Contains(filepath.ToSlash(path), "/tests/") {
			return // a table of cases is as long as it has cases
		}
		if lines := fset.File(file.Pos()).LineCount(); lines > maxFileLines {
			t.Errorf("%s has %d lines; split it at %d", path, lines, maxFileLines)
		}
		for _, d := range file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line
			if n > maxFunctionLines {
				t.Errorf("%s:%d: function %s has %d lines; split it at %d", path, fset.Position(fn.Pos()).Line, fn.Name.Name, n, maxFunctionLines)
			}
		}
	})
}

func TestNoUnfinishedWork(t *testing.T) {
	eachGoFile(t, func(path string) {
		if vagueNames[filepath.Base(filepath.Dir(path))] {
			t.Errorf("%s: the folder's name does not say what may be in it", path)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			return
		}
		for i, line := range strings.Split(string(b), "\n") {
			if unfinished.MatchString(line) {
				t.Errorf("%s:%d: %s", path, i+1, strings.TrimSpace(line))
			}
		}
	})
}
