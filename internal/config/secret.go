// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"io"
	"log/slog"
)

// hidden is what stands for a secret wherever it would be printed.
const hidden = "(hidden)"

// A Secret is a text that no printing shows, whatever the verb or encoder. The
// zero Secret is empty.
type Secret struct {
	// A pointer, because fmt calls no method on an unexported field of another
	// struct: it prints an address there, never the text.
	text *string
}

// NewSecret hides text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text, for the one place that must send it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String returns a stand-in, or "" when there is nothing to hide.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return hidden
}

// Format prints the stand-in for every verb, %#v and %x among them.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue hides the text in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the text in JSON and its like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
