// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// A source is one Go file.
type source struct {
	path string // in the tree, with slashes
	pkg  string // its folder; "" for the top
	test bool
	text string
	file *ast.File
	pos  *token.FileSet
}

// load parses every Go file of a tree that belongs to the module: no testdata,
// hidden folders, nor modules of their own.
func load(tree fs.FS) ([]source, error) {
	var all []source
	err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != "." && foreignFolder(tree, p) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(p) != ".go" {
			return nil
		}
		s, err := read(tree, p)
		if err == nil {
			all = append(all, s)
		}
		return err
	})
	return all, err
}

func foreignFolder(tree fs.FS, p string) bool {
	base := path.Base(p)
	if base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := fs.Stat(tree, path.Join(p, "go.mod"))
	return err == nil
}

func read(tree fs.FS, p string) (source, error) {
	text, err := fs.ReadFile(tree, p)
	if err != nil {
		return source{}, err
	}
	pos := token.NewFileSet()
	file, err := parser.ParseFile(pos, p, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, fmt.Errorf("parse %s: %w", p, err)
	}
	pkg := path.Dir(p)
	if pkg == "." {
		pkg = ""
	}
	return source{p, pkg, strings.HasSuffix(p, "_test.go"), string(text), file, pos}, nil
}

// imports returns the paths that a file imports, each with the name it has in
// the file.
func (s source) imports() map[string]string {
	names := make(map[string]string)
	for _, i := range s.file.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			continue // the parser has checked it
		}
		names[p] = path.Base(p)
		if i.Name != nil {
			names[p] = i.Name.Name
		}
	}
	return names
}

// at returns where a node stands, as file:line.
func (s source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, s.pos.Position(n.Pos()).Line)
}
