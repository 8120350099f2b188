package config_test

import (
	"fmt"

	"github.com/headgate/headgate/config"
)

func ExampleParse() {
	_, err := config.Parse("headgate.yaml", []byte(`
upstreams:
  openai:
    url: https://api.openai.com
    limts: [50/1m]
    line: {max_wait: 2min}
`))
	fmt.Println(err)
	// Output:
	// headgate.yaml:5:5: upstreams.openai.limts: unknown key; did you mean "limits"?
	// headgate.yaml:6:22: upstreams.openai.line.max_wait "2min": want a duration such as "500ms", "30s", "2m" or "1d"; did you mean "2m"?
}
