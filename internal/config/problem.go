// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Problem is one thing that is wrong in a net-conf.
type Problem struct {
	Key   string // such as "Backend.VNI", or a place such as "line 3, column 7"
	Value string // what stands there, as JSON; "" where it is missing or may be secret
	Want  string // what would be right
}

// Error returns key, value and remedy in one line.
func (p *Problem) Error() string {
	if p.Value == "" {
		return fmt.Sprintf("%s: %s", p.Key, p.Want)
	}
	return fmt.Sprintf("%s %s: %s", p.Key, p.Value, p.Want)
}

// problems gathers what is wrong, so that all of it is told at once.
type problems []error

func (p *problems) add(key string, value json.RawMessage, want string) {
	*p = append(*p, &Problem{Key: key, Value: excerpt(string(value)), Want: want})
}

// syntax tells where a JSON text is broken.
func (p *problems) syntax(raw []byte) bool {
	err := json.NewDecoder(bytes.NewReader(raw)).Decode(new(any))
	if err == nil {
		err = json.Unmarshal(raw, new(any)) // looks behind the first value, too
	}
	if err == nil {
		return true
	}
	at, why := len(raw), "it ends too early"
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		at, why = int(s.Offset)-1, err.Error() // the offset is behind the byte that is refused
	}
	line := 1 + bytes.Count(raw[:at], []byte("\n"))
	column := 1 + utf8.RuneCount(raw[bytes.LastIndexByte(raw[:at], '\n')+1:at])
	p.add(fmt.Sprintf("line %d, column %d", line, column), nil, "want a JSON object: "+why)
	return false
}

// excerpt bounds what an error repeats, and leaves out what a terminal would obey.
func excerpt(text string) string {
	const most = 60
	clean := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if runes := []rune(clean); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return clean
}
