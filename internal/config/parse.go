// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// ErrHelp and ErrVersion say that a text was asked for instead of a run: print
// Usage or the version, and exit 0.
var (
	ErrHelp    = flag.ErrHelp
	ErrVersion = errors.New("version asked for")
)

// Parse reads the arguments that follow the program's name, and for flags that
// are not among them the environment ("NAME=value" each): PERCALED_<FLAG>, then
// FLANNELD_<FLAG>, where they are not empty. It asks the system for the host
// name when no node name is given, nor a pod by which Kubernetes can tell it. Its error is one line that names all that is
// wrong and what would be right.
func Parse(args, environ []string) (Settings, error) {
	s := defaults()
	p := parser{options: options(&s), given: make(map[string]bool)}
	if err := p.flags(args); err != nil {
		return Settings{}, err
	}
	p.environment(environ)
	if s.NodeName == "" && !(s.KubeSubnetMgr && namesPod(environ)) {
		p.hostName()
	}
	p.wrong = append(p.wrong, contradictions(s)...)
	if p.wrong != nil {
		return Settings{}, errors.New(strings.Join(p.wrong, "; "))
	}
	return s, nil
}

type parser struct {
	options []option
	given   map[string]bool // flags on the command line
	wrong   []string
}

// flags reads the command line with package flag, for its syntax, and words
// the errors itself.
func (p *parser) flags(args []string) error {
	set := flag.NewFlagSet("percaled", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, o := range p.options {
		take := func(text string) error {
			p.given[o.name] = true
			p.set(o, "--"+o.name, text)
			return nil // go on, to find all that is wrong
		}
		if o.toggle {
			set.BoolFunc(o.name, "", take)
		} else {
			set.Func(o.name, "", take)
		}
	}
	err := set.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return ErrHelp
	case err != nil:
		return errors.New(p.misfit(args, len(args)-set.NArg()))
	case p.version():
		return ErrVersion
	case set.NArg() > 0:
		p.wrong = append(p.wrong, fmt.Sprintf(
			"unexpected argument %.60q: want flags only, a switch's value after '=' as in --ip-masq=true", set.Arg(0)))
	}
	return nil
}

// misfit says what package flag stopped at, which does not tell it apart: an
// unknown flag, a flag without its value (both are the last of the n arguments
// it took), or an argument of a wrong form (the next).
func (p *parser) misfit(args []string, n int) string {
	if n > 0 && strings.HasPrefix(args[n-1], "-") {
		name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(args[n-1], "-"), "-"), "=")
		known := slices.IndexFunc(p.options, func(o option) bool { return o.name == name })
		switch {
		case known < 0:
			return p.unknown(name)
		case n == len(args):
			return fmt.Sprintf("--%s: want a value, as in --%s=%s", name, name, p.options[known].arg)
		}
	}
	return fmt.Sprintf("argument %.60q: want --flag=value", args[n])
}

func (p *parser) unknown(name string) string {
	var names []string
	for _, o := range p.options {
		names = append(names, o.name)
	}
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("unknown flag --%s: did you mean --%s?", name, near)
	}
	return fmt.Sprintf("unknown flag %.60q: percaled --help lists all flags", "--"+name)
}

// version reports whether --version is on.
func (p *parser) version() bool {
	return slices.ContainsFunc(p.options, func(o option) bool { return o.name == "version" && o.show() == "true" })
}

func (p *parser) set(o option, source, text string) {
	err := o.set(text)
	switch {
	case err == nil:
	case o.mute:
		p.wrong = append(p.wrong, fmt.Sprintf("%s: %v", source, err))
	default:
		p.wrong = append(p.wrong, fmt.Sprintf("%s %.60q: %v", source, text, err))
	}
}

// once are flags that no variable stands for.
var once = [...]string{"version", "cleanup", "install-cni"}

func (p *parser) environment(environ []string) {
	env := make(map[string]string)
	for _, pair := range environ {
		if name, text, _ := strings.Cut(pair, "="); text != "" {
			env[name] = text
		}
	}
	for _, o := range p.options {
		// Images commonly set …_VERSION to tell their own. What is done once is
		// not to be done at each start.
		if p.given[o.name] || slices.Contains(once[:], o.name) {
			continue
		}
		for _, name := range variables(o.name) {
			if text, ok := env[name]; ok {
				p.set(o, name, text)
				break
			}
		}
	}
}

// variables returns the environment variables for a flag, the first that is set
// wins.
func variables(flag string) []string {
	name := strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
	all := []string{"PERCALED_" + name, "FLANNELD_" + name}
	if flag == "node-name" {
		all = append(all, "NODE_NAME")
	}
	return all
}

func (p *parser) hostName() {
	for _, o := range p.options {
		if o.name != "node-name" {
			continue
		}
		host, err := os.Hostname()
		if err != nil {
			p.wrong = append(p.wrong, fmt.Sprintf("--node-name: the host has no name (%v): give one", err))
			return
		}
		p.set(o, "host name", host)
	}
}

// namesPod reports whether the environment names our pod, by which Kubernetes can
// be asked for our node.
func namesPod(environ []string) bool {
	named := func(variable string) bool {
		return slices.ContainsFunc(environ, func(pair string) bool { return strings.HasPrefix(pair, variable+"=") && pair != variable+"=" })
	}
	return named("POD_NAME") && named("POD_NAMESPACE")
}

// contradictions says which flags do not go together.
func contradictions(s Settings) []string {
	var wrong []string
	if (s.EtcdCertFile == "") != (s.EtcdKeyFile == "") {
		wrong = append(wrong, "--etcd-certfile and --etcd-keyfile: want both or none")
	}
	if text := plaintext(s); text != "" {
		wrong = append(wrong, text)
	}
	if (s.EtcdUsername == "") != (s.EtcdPassword.Reveal() == "") {
		wrong = append(wrong, "--etcd-username and --etcd-password: want both or none")
	}
	return wrong
}

// plaintext says which TLS files would have no effect, since an endpoint is not
// encrypted; "" if none.
func plaintext(s Settings) string {
	var files []string
	for _, f := range [...]struct{ flag, file string }{
		{"--etcd-certfile", s.EtcdCertFile}, {"--etcd-keyfile", s.EtcdKeyFile}, {"--etcd-cafile", s.EtcdCAFile},
	} {
		if f.file != "" {
			files = append(files, f.flag)
		}
	}
	i := slices.IndexFunc(s.EtcdEndpoints, func(e string) bool { return !strings.HasPrefix(e, "https:") })
	if i < 0 || files == nil {
		return ""
	}
	needs := " need"
	if len(files) == 1 {
		needs = " needs"
	}
	return fmt.Sprintf("%s%s https:// endpoints: %s is not encrypted: write https:// in --etcd-endpoints, or leave the TLS files out",
		strings.Join(files, ", "), needs, s.EtcdEndpoints[i])
}
