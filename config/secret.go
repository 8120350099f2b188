package config

import (
	"fmt"
	"io"
	"log/slog"
)

// hiddenText stands for a secret wherever one is printed.
const hiddenText = "***"

// NewSecret keeps text from being printed.
func NewSecret(text string) Secret { return Secret{text: text} }

// Reveal returns the text itself, for the wire and nothing else.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is no text.
func (s Secret) IsZero() bool { return s.text == "" }

// String returns ***.
func (s Secret) String() string { return hiddenText }

// Format writes *** for every verb of package fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hiddenText) }

// LogValue is *** in every handler of package slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hiddenText) }

// MarshalText writes ***; JSON and YAML use it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hiddenText), nil }

// UnmarshalText takes the text as it is.
func (s *Secret) UnmarshalText(text []byte) error {
	s.text = string(text)
	return nil
}
