package kafkaserver

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/twmb/franz-go/pkg/kerr"
)

// domains are the packages whose errors reach clients.
var domains = []string{"controller", "metadata", "metalog", "partition", "recordbatch", "replica", "wal", "group"}

// TestErrorTableIsComplete: every exported sentinel of a domain package has its line in a table here. One that is forgotten would be
// UNKNOWN_SERVER_ERROR to clients, which they take for a defect.
func TestErrorTableIsComplete(t *testing.T) {
	mapped := map[string]bool{}
	for _, f := range parse(t, ".") {
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.CompositeLit); ok && len(lit.Elts) == 2 && isIdent(lit.Type, "errorMapping") {
				if sel, ok := lit.Elts[0].(*ast.SelectorExpr); ok {
					mapped[fmt.Sprintf("%s.%s", sel.X, sel.Sel.Name)] = true
				}
			}
			return true
		})
	}
	for _, pkg := range domains {
		found := 0
		for _, f := range parse(t, filepath.Join("..", pkg)) {
			for _, name := range sentinels(f) {
				found++
				if !mapped[pkg+"."+name] {
					t.Errorf("%s.%s has no Kafka error", pkg, name)
				}
			}
		}
		if found == 0 {
			t.Errorf("no sentinels found in %s", pkg)
		}
	}
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

func parse(t *testing.T, dir string) []*ast.File {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, e.Name()), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
	}
	return files
}

// sentinels are the package variables named Err... that are made by errors.New.
func sentinels(f *ast.File) []string {
	var names []string
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			for i, id := range v.Names {
				if strings.HasPrefix(id.Name, "Err") && i < len(v.Values) {
					if call, ok := v.Values[i].(*ast.CallExpr); ok && fmt.Sprint(call.Fun) == "&{errors New}" {
						names = append(names, id.Name)
					}
				}
			}
		}
	}
	return names
}

func TestErrorCodes(t *testing.T) {
	refusal := &controller.Refusal{Reason: controller.ErrInvalidConfig, Message: "why"}
	tests := []struct {
		err  error
		code int16
		text string // of refusalText; "" for none
	}{
		{nil, 0, ""},
		{errors.New("nobody knows me"), kerr.UnknownServerError.Code, "nobody knows me"},
		{fmt.Errorf("wrapped: %w", kerr.InvalidTopicException), kerr.InvalidTopicException.Code, "wrapped: " + kerr.InvalidTopicException.Error()},
		{refusal, kerr.InvalidConfig.Code, "why"},
		{controller.ErrUnknownTopic, kerr.UnknownTopicOrPartition.Code, ""},
		{&controller.Refusal{Reason: controller.ErrUnknownTopic, Message: "no\nsuch"}, kerr.UnknownTopicOrPartition.Code, "no?such"},
	}
	for _, tt := range tests {
		text := ""
		if s := refusalText(tt.err); s != nil {
			text = *s
		}
		if code := errorCode(tt.err); code != tt.code || text != tt.text {
			t.Errorf("%v: code %d and %q, want %d and %q", tt.err, code, text, tt.code, tt.text)
		}
	}
}

// Damage of what is stored is the server's fault, whatever is wrong with the batch.
func TestDamageIsAStorageError(t *testing.T) {
	err := fmt.Errorf("read: %w: %w", partition.ErrCorrupt, recordbatch.ErrCRC)
	if code := errorCode(err); code != kerr.KafkaStorageError.Code {
		t.Errorf("error %d, want %d", code, kerr.KafkaStorageError.Code)
	}
}
