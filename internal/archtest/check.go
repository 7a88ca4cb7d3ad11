// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"fmt"
	"go/ast"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Check reads the Go files of a module and returns what breaks a rule, one line
// each with file and remedy, in the order of the files.
func Check(tree fs.FS, module string) ([]string, error) {
	files, err := load(tree)
	if err != nil {
		return nil, fmt.Errorf("check the house: %w", err)
	}
	c := checker{module: module}
	for _, s := range files {
		c.habits(s)
		if s.test {
			continue
		}
		r, ok := ruleFor(s.pkg)
		if !ok {
			c.add("%s: package %q has no rule: add one to internal/archtest/rules.go", s.path, s.pkg)
			continue
		}
		c.imports(s, r)
		c.code(s, r)
	}
	c.docs(files)
	return c.faults, nil
}

type checker struct {
	module string
	faults []string
}

func (c *checker) add(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

// habits are what every file keeps, tests too.
func (c *checker) habits(s source) {
	if !strings.HasPrefix(s.text, license+"\n\n") {
		c.add("%s: want %q and an empty line first", s.path, license)
	}
	if name := strings.TrimSuffix(s.file.Name.Name, "_test"); slices.Contains(vague, name) || slices.Contains(vague, path.Base(s.pkg)) {
		c.add("%s: package %q: name it for what it provides", s.path, name)
	}
}

func (c *checker) imports(s source, r rule) {
	for _, p := range slices.Sorted(maps.Keys(s.imports())) {
		own, isOwn := strings.CutPrefix(p, c.module+"/")
		first, _, _ := strings.Cut(p, "/")
		switch {
		case isOwn:
			if !r.allowsOwn(own) {
				c.add("%s: %s may not import %s", s.path, s.pkg, own)
			}
		case strings.Contains(first, "."):
			if !r.allowsForeign(p) {
				c.add("%s: %s may not import %s", s.path, s.pkg, p)
			}
		case p == "C":
			c.add("%s: want no cgo", s.path)
		case r.pure && isImpure(s.pkg, p):
			c.add("%s: %s is pure and may not import %s", s.path, s.pkg, p)
		}
	}
}

// code looks at statements.
func (c *checker) code(s source, r rule) {
	names := s.imports()
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if r.pure {
				c.add("%s: %s is pure and may not start goroutines", s.at(n), s.pkg)
			}
		case *ast.FuncDecl:
			if n.Name.Name == "init" && n.Recv == nil {
				c.add("%s: want no init: let main call it", s.at(n))
			}
		case *ast.SelectorExpr:
			c.selector(s, r, call{n, names})
		}
		return true
	})
}

// A call is a use of an imported name.
type call struct {
	*ast.SelectorExpr
	imports map[string]string
}

// of reports whether the call is one of those functions of a package.
func (x call) of(pkg string, functions ...string) bool {
	id, ok := x.X.(*ast.Ident)
	return ok && x.imports[pkg] == id.Name && slices.Contains(functions, x.Sel.Name)
}

func (c *checker) selector(s source, r rule, x call) {
	switch {
	case r.pure && x.of("time", clock...):
		c.add("%s: %s is pure and may not ask time.%s: pass the time in", s.at(x), s.pkg, x.Sel.Name)
	case x.of("time", "Sleep"):
		c.add("%s: want no time.Sleep: wait for what is to happen", s.at(x))
	case x.of("os", "Exit") && s.file.Name.Name != "main":
		c.add("%s: want os.Exit in main alone: return an error", s.at(x))
	case x.of("log", "Fatal", "Fatalf", "Fatalln"):
		c.add("%s: want no log.%s: return an error", s.at(x), x.Sel.Name)
	}
}

// docs wants one package comment per package, in the code if there is code.
func (c *checker) docs(files []source) {
	count, packages := make(map[string]int), make(map[string]bool)
	for _, s := range files {
		packages[s.pkg] = true
		if s.file.Doc != nil {
			count[s.pkg]++
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(packages)) {
		if n := count[pkg]; n != 1 {
			c.add("%s: want one package comment: it has %d", pkg, n)
		}
	}
}
