package config

import (
	"strings"
	"testing"
)

func TestAdminKeyIsAHash(t *testing.T) {
	good := "sha256:" + strings.Repeat("0a", 32)
	c, err := Parse("f.yaml", []byte("admin_key: "+good+"\n"))
	if err != nil || c.AdminKey != good {
		t.Errorf("admin_key = %q, %v, want it as written", c.AdminKey, err)
	}
	for _, bad := range []string{"hg_the-key-itself", "sha256:12", strings.ToUpper(good)} {
		_, err := Parse("f.yaml", []byte("admin_key: "+bad+"\n"))
		if err == nil || !strings.Contains(err.Error(), `f.yaml:1:12: admin_key: want "sha256:"`) || strings.Contains(err.Error(), bad) {
			t.Errorf("admin_key %q = %v, want a refusal that does not repeat it", bad, err)
		}
		var text strings.Builder
		if err := (Config{AdminKey: bad}).Print(&text); err != nil || strings.Contains(text.String(), bad) {
			t.Errorf("printed as\n%s%v\nwant it hidden", &text, err)
		}
	}
}
