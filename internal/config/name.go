// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// file is a path that must be absolute, since the agent's working directory is
// whatever started it. Empty stands for none.
func file(p *string) value {
	return value{
		show: func() string { return *p },
		set: func(text string) error {
			if text != "" && (!path.IsAbs(text) || strings.ContainsRune(text, 0)) {
				return errors.New("want an absolute path")
			}
			*p = text
			if text != "" {
				*p = path.Clean(text)
			}
			return nil
		},
	}
}

// needed refuses the empty text, which v takes for "none".
func needed(v value) value {
	set := v.set
	v.set = func(text string) error {
		if text == "" {
			return set("?") // no path, no number: says what is right
		}
		return set(text)
	}
	return v
}

func prefix(p *string) value {
	return value{
		show: func() string { return *p },
		set: func(text string) error {
			clean := path.Clean(text)
			if text == "" || clean == "/" || clean == "." || strings.HasPrefix(clean, "..") || !printable(clean) {
				return errors.New("want a key prefix such as /coreos.com/network")
			}
			*p = clean
			return nil
		},
	}
}

func nodeName(p *string) value {
	return value{
		show: func() string { return *p },
		set: func(text string) error {
			if len(text) > 253 || !nodeNameForm.MatchString(text) {
				return errors.New("want at most 253 letters, digits, '-', '_' and '.', the first and last a letter or digit")
			}
			*p = text
			return nil
		},
	}
}

// annotationPrefix is what stands before the names of annotations: a domain, and
// perhaps a slash and the beginning of a name.
func annotationPrefix(p *string) value {
	return value{
		show: func() string { return *p },
		set: func(text string) error {
			domain, name, _ := strings.Cut(text, "/")
			if len(domain) > 253 || !domainForm.MatchString(domain) || len(name) > 40 || !annotationForm.MatchString(name) {
				return errors.New("want a domain such as flannel.alpha.coreos.com, or example.com/name-")
			}
			*p = text
			return nil
		},
	}
}

var (
	domainForm     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	annotationForm = regexp.MustCompile(`^([a-z0-9][a-z0-9_-]*)?$`)
)

// apiURL is where the API server is. Empty stands for what else tells it.
func apiURL(p *string) value {
	return value{
		mute: true,
		show: func() string { return *p },
		set: func(text string) error {
			u, err := url.Parse(text)
			if text != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "") {
				return errors.New("want a URL such as https://192.0.2.1:6443")
			}
			if text != "" && u.User != nil {
				return errors.New("want no credentials in it: they belong in --kubeconfig-file")
			}
			*p = text
			return nil
		},
	}
}

var nodeNameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

// printable reports whether text is one visible word.
func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
}
